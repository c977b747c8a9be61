// Package export_pointsman_policy_select is one of three hooks: see examples/languages/main.rs.
package export_pointsman_policy_select

import (
	policy "measured/bindings/pointsman_policy_types"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

// Select picks the target with the fewest calls.
func Select(call *policy.Call, targets *policy.Targets) wit.Result[policy.Selection, string] {
	defer call.Drop()
	defer targets.Drop()
	if call.Name().IsNone() {
		return wit.Ok[policy.Selection, string](policy.MakeSelectionAny())
	}
	loads := targets.Loads()
	if len(loads) == 0 {
		return wit.Ok[policy.Selection, string](policy.MakeSelectionAny())
	}
	least := 0
	for at, load := range loads {
		if load < loads[least] {
			least = at
		}
	}
	return wit.Ok[policy.Selection, string](policy.MakeSelectionPick(uint32(least)))
}
