// Refuses tools that drop things, and leaves all other calls to whoever comes next.
package export_pointsman_policy_route

import (
	"strings"

	policy "@name/bindings/pointsman_policy_types"
	wit "go.bytecodealliance.org/pkg/wit/types"
)

type result = wit.Result[policy.RouteChoice, string]

// The time stands still here and randomness is none: `time` and `rand` know nothing of the machine. What is real comes
// from the router: wit/policy.wit names what is imported. What is printed goes to the router's log.
func Route(call *policy.Call, candidates *policy.Candidates) result {
	// What a hook is lent it gives back before it answers; else the call fails.
	defer call.Drop()
	defer candidates.Drop()
	if strings.Contains(call.Name().SomeOr(""), "drop") {
		denial := policy.Denial{
			Code:    "no-drop",
			Message: "nothing is dropped here; ask an administrator",
		}
		return wit.Ok[policy.RouteChoice, string](policy.MakeRouteChoiceDeny(denial))
	}
	return wit.Ok[policy.RouteChoice, string](policy.MakeRouteChoiceNext())
}
