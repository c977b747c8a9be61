// Package export_pointsman_policy_route decides.
package export_pointsman_policy_route

import (
	"fmt"

	clock "office-hours/bindings/pointsman_policy_clock"
	kv "office-hours/bindings/pointsman_policy_kv"
	policy "office-hours/bindings/pointsman_policy_types"
	lifecycle "office-hours/export_pointsman_policy_lifecycle"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

type result = wit.Result[policy.RouteChoice, string]

// Counts are kept for longer than any day lasts, and then they go.
const twoDays = 48 * 60 * 60 * 1000

func Route(call *policy.Call, candidates *policy.Candidates) result {
	defer call.Drop()
	defer candidates.Drop()
	rules := lifecycle.Rules
	if call.Method() != "tools/call" || !rules.Concern(call.Name().SomeOr("")) {
		return decided(policy.MakeRouteChoiceNext())
	}
	now := clock.Now()
	if !rules.Open(now) {
		return denied("out-of-hours", fmt.Sprintf("this tool may be called from %d to %d o'clock on office days", rules.From, rules.To))
	}
	if rules.PerDay > 0 {
		key := rules.Day(now) + ":" + call.Principal().SomeOr(call.Agent())
		counted := kv.Increment(key, 1, wit.Some[uint64](twoDays))
		if counted.IsErr() {
			// With no room to count in there would be no bound.
			return wit.Err[policy.RouteChoice, string](counted.Err())
		}
		if counted.Ok() > rules.PerDay {
			return denied("quota", fmt.Sprintf("%d calls a day are allowed; go on tomorrow", rules.PerDay))
		}
	}
	return decided(policy.MakeRouteChoiceNext())
}

func decided(choice policy.RouteChoice) result {
	return wit.Ok[policy.RouteChoice, string](choice)
}

func denied(code, message string) result {
	return decided(policy.MakeRouteChoiceDeny(policy.Denial{Code: code, Message: message}))
}
