// Package export_pointsman_policy_transform_request is one of three hooks: see examples/languages/main.rs.
package export_pointsman_policy_transform_request

import (
	"strconv"

	policy "measured/bindings/pointsman_policy_types"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

type result = wit.Result[[]policy.Edit, string]

// Transform sets a limit of ten, where there is none or a higher one.
func Transform(call *policy.Call) result {
	defer call.Drop()
	name := call.Name().SomeOr("")
	limit := call.Param("/arguments/limit")
	if limit.IsErr() {
		return wit.Err[[]policy.Edit, string](limit.Err())
	}
	most, err := strconv.Atoi(limit.Ok().SomeOr(""))
	if name == "" || (err == nil && most <= 10) {
		return wit.Ok[[]policy.Edit, string](nil)
	}
	edit := policy.MakeEditSet(policy.SetEdit{Pointer: "/arguments/limit", Json: "10"})
	return wit.Ok[[]policy.Edit, string]([]policy.Edit{edit})
}
