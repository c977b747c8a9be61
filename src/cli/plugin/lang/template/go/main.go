// What makes a program of it. The policy itself is in export_pointsman_policy_route: a hook's package is named by the
// bindings, after the interface that wit/policy.wit exports.
package main

import _ "@name/bindings/wit_exports"

func main() {}
