// Package export_pointsman_policy_route is one of three hooks with a little work in each, the same in all languages of
// `make bench`: see examples/languages/main.rs.
package export_pointsman_policy_route

import (
	"strings"

	policy "measured/bindings/pointsman_policy_types"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

// Route narrows to the least busy of those that offer the tool, unless it is one that drops things or a robot asks.
func Route(call *policy.Call, candidates *policy.Candidates) wit.Result[policy.RouteChoice, string] {
	defer call.Drop()
	defer candidates.Drop()
	name := call.Name().SomeOr("")
	agent := call.Header("user-agent").SomeOr("")
	if strings.Contains(name, "drop") || strings.Contains(agent, "robot") {
		denial := policy.Denial{Code: "no-drop", Message: "nothing is dropped here"}
		return wit.Ok[policy.RouteChoice, string](policy.MakeRouteChoiceDeny(denial))
	}
	offering := candidates.Offering()
	if len(offering) == 0 {
		return wit.Ok[policy.RouteChoice, string](policy.MakeRouteChoiceNext())
	}
	least, load := offering[0], candidates.InFlight(offering[0])
	for _, at := range offering[1:] {
		if its := candidates.InFlight(at); its < load {
			least, load = at, its
		}
	}
	return wit.Ok[policy.RouteChoice, string](policy.MakeRouteChoiceNarrow([]uint32{least}))
}
