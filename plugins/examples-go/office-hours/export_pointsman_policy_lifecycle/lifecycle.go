// Package export_pointsman_policy_lifecycle reads the config, once in each instance.
package export_pointsman_policy_lifecycle

import (
	"office-hours/hours"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

// Rules are what the hooks go by.
var Rules hours.Rules

// Init refuses a config with an error, whose text is what the operator reads.
func Init(config string) wit.Result[wit.Unit, string] {
	rules, err := hours.Read(config)
	if err != nil {
		return wit.Err[wit.Unit, string](err.Error())
	}
	Rules = rules
	return wit.Ok[wit.Unit, string](wit.Unit{})
}

// Shutdown has nothing to do: what is counted is in the router's store.
func Shutdown() {}
