// Three hooks with a little work in each, the same in all languages of `make bench`: see examples/languages/main.rs.

#include <stdlib.h>
#include <string.h>

#include "policy.h"

static bool contains(policy_string_t text, const char *word) {
  size_t length = strlen(word);
  for (size_t at = 0; at + length <= text.len; at++) {
    if (memcmp(text.ptr + at, word, length) == 0) return true;
  }
  return false;
}

// The least busy of those that offer the tool, unless it is one that drops things or a robot asks.
bool exports_policy_route_route(policy_types_borrow_call_t call, policy_types_borrow_candidates_t candidates,
                                policy_types_route_choice_t *choice, policy_string_t *error) {
  policy_string_t name = {0}, agent = {0}, header;
  policy_string_set(&header, "user-agent");
  bool is_named = policy_types_method_call_name(call, &name);
  bool is_known = policy_types_method_call_header(call, &header, &agent);
  bool is_denied = (is_named && contains(name, "drop")) || (is_known && contains(agent, "robot"));
  if (is_named) policy_string_free(&name);
  if (is_known) policy_string_free(&agent);
  if (is_denied) {
    choice->tag = POLICY_TYPES_ROUTE_CHOICE_DENY;
    policy_string_dup(&choice->val.deny.code, "no-drop");
    policy_string_dup(&choice->val.deny.message, "nothing is dropped here");
    return true;
  }
  policy_list_u32_t offering;
  policy_types_method_candidates_offering(candidates, &offering);
  choice->tag = POLICY_TYPES_ROUTE_CHOICE_NEXT;
  uint32_t least = 0, load = UINT32_MAX;
  for (size_t at = 0; at < offering.len; at++) {
    uint32_t its = policy_types_method_candidates_in_flight(candidates, offering.ptr[at]);
    if (at == 0 || its < load) {
      least = offering.ptr[at];
      load = its;
    }
  }
  if (offering.len > 0) {
    choice->tag = POLICY_TYPES_ROUTE_CHOICE_NARROW;
    choice->val.narrow.ptr = malloc(sizeof least);
    choice->val.narrow.ptr[0] = least;
    choice->val.narrow.len = 1;
  }
  policy_list_u32_free(&offering);
  return true;
}

// The target with the fewest calls.
bool exports_policy_select_select(policy_types_borrow_call_t call, policy_types_borrow_targets_t targets,
                                  policy_types_selection_t *choice, policy_string_t *error) {
  choice->tag = POLICY_TYPES_SELECTION_ANY;
  policy_string_t name;
  if (!policy_types_method_call_name(call, &name)) return true;
  policy_string_free(&name);
  policy_list_u32_t loads;
  policy_types_method_targets_loads(targets, &loads);
  for (size_t at = 0; at < loads.len; at++) {
    if (at == 0 || loads.ptr[at] < loads.ptr[choice->val.pick]) {
      choice->tag = POLICY_TYPES_SELECTION_PICK;
      choice->val.pick = (uint32_t)at;
    }
  }
  policy_list_u32_free(&loads);
  return true;
}

// A limit of ten, where there is none or a higher one.
bool exports_policy_transform_request_transform(policy_types_borrow_call_t call, exports_policy_transform_request_list_edit_t *edits,
                                                policy_string_t *error) {
  edits->ptr = NULL;
  edits->len = 0;
  policy_string_t name, pointer;
  if (!policy_types_method_call_name(call, &name)) return true;
  policy_string_free(&name);
  policy_option_string_t limit;
  policy_string_set(&pointer, "/arguments/limit");
  if (!policy_types_method_call_param(call, &pointer, &limit, error)) return false;
  if (limit.is_some) {
    char digits[12] = {0};
    size_t length = limit.val.len < sizeof digits - 1 ? limit.val.len : sizeof digits - 1;
    memcpy(digits, limit.val.ptr, length);
    char *end;
    long most = strtol(digits, &end, 10);
    policy_string_free(&limit.val);
    if (end != digits && most <= 10) return true;
  }
  edits->ptr = malloc(sizeof *edits->ptr);
  edits->len = 1;
  edits->ptr[0].tag = POLICY_TYPES_EDIT_SET;
  policy_string_dup(&edits->ptr[0].val.set.pointer, "/arguments/limit");
  policy_string_dup(&edits->ptr[0].val.set.json, "10");
  return true;
}
