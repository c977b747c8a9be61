// Tools by label: the label `tools` of an agent's token says which tools it may call, as in `read_*,list`. A `*` at the end
// of a name stands for any text. Agents without that label may call none. No config, no grants.

#include <string.h>

#include "policy.h"

// Whether `name` is what `pattern` means.
static bool fits(const uint8_t *pattern, size_t length, policy_string_t name) {
  if (length > 0 && pattern[length - 1] == '*') {
    return name.len >= length - 1 && memcmp(pattern, name.ptr, length - 1) == 0;
  }
  return name.len == length && memcmp(pattern, name.ptr, length) == 0;
}

// Whether one of the patterns between commas fits.
static bool is_listed(policy_string_t list, policy_string_t name) {
  size_t from = 0;
  while (from <= list.len) {
    const uint8_t *comma = from < list.len ? memchr(list.ptr + from, ',', list.len - from) : NULL;
    size_t end = comma ? (size_t)(comma - list.ptr) : list.len;
    size_t first = from;
    while (first < end && list.ptr[first] == ' ') first++;
    size_t last = end;
    while (last > first && list.ptr[last - 1] == ' ') last--;
    if (last > first && fits(list.ptr + first, last - first, name)) return true;
    from = end + 1;
  }
  return false;
}

static bool is_call_of_a_tool(policy_types_borrow_call_t call) {
  static const char TOOLS_CALL[] = "tools/call";
  policy_string_t method;
  policy_types_method_call_method(call, &method);
  bool is = method.len == sizeof TOOLS_CALL - 1 && memcmp(method.ptr, TOOLS_CALL, method.len) == 0;
  policy_string_free(&method);
  return is;
}

static bool may_call(policy_types_borrow_call_t call, policy_string_t name) {
  policy_string_t label, list;
  policy_string_set(&label, "tools");
  if (!policy_types_method_call_label(call, &label, &list)) return false;
  bool may = is_listed(list, name);
  policy_string_free(&list);
  return may;
}

bool exports_policy_route_route(policy_types_borrow_call_t call, policy_types_borrow_candidates_t candidates,
                                policy_types_route_choice_t *choice, policy_string_t *error) {
  choice->tag = POLICY_TYPES_ROUTE_CHOICE_NEXT;
  policy_string_t name;
  if (!is_call_of_a_tool(call) || !policy_types_method_call_name(call, &name)) return true;
  if (!may_call(call, name)) {
    choice->tag = POLICY_TYPES_ROUTE_CHOICE_DENY;
    policy_string_dup(&choice->val.deny.code, "tool-not-listed");
    policy_string_dup(&choice->val.deny.message, "the label `tools` of your token does not list this tool");
  }
  policy_string_free(&name);
  return true;
}
