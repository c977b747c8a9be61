// Refuses tools that drop things, and leaves all other calls to whoever comes next.

#include <stdlib.h>
#include <string.h>

// Made from wit/policy.wit by each `pointsman plugin build`: all that there is to ask and to answer.
#include "policy.h"

// Strings of the router's come with a length and without a zero at their end.
static bool contains(policy_string_t text, const char *word) {
  size_t length = strlen(word);
  for (size_t at = 0; at + length <= text.len; at++) {
    if (memcmp(text.ptr + at, word, length) == 0) return true;
  }
  return false;
}

// True: `choice` is what it decides. False: `error` says what went wrong, which is a fault of the policy.
bool exports_policy_route_route(policy_types_borrow_call_t call, policy_types_borrow_candidates_t candidates,
                                policy_types_route_choice_t *choice, policy_string_t *error) {
  choice->tag = POLICY_TYPES_ROUTE_CHOICE_NEXT;
  policy_string_t name;
  if (policy_types_method_call_name(call, &name)) {
    if (contains(name, "drop")) {
      choice->tag = POLICY_TYPES_ROUTE_CHOICE_DENY;
      // What is answered is freed by the bindings, so these are copies.
      policy_string_dup(&choice->val.deny.code, "no-drop");
      policy_string_dup(&choice->val.deny.message, "nothing is dropped here; ask an administrator");
    }
    // What is got is the policy's to free.
    policy_string_free(&name);
  }
  return true;
}
