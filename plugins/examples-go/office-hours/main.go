// Certain tools in office hours alone, and so many calls of them a day. Wants the grants `kv` and `clock`.
//
//	{ "tools": ["deploy*"], "from": 9, "to": 17, "days": [1, 2, 3, 4, 5], "offset-minutes": 60, "per-day": 20 }
//
// Hours are whole ones of the day, days count from Sunday, which is 0, both at that offset from UTC. "per-day" bounds the
// calls of one agent; without it there is no bound. The rules are in hours/, the hooks in the packages that are named by
// the bindings.
package main

import _ "office-hours/bindings/wit_exports"

func main() {}
