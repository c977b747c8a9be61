package hours

import (
	"testing"
	"time"
)

func TestOpen(t *testing.T) {
	rules, err := Read(`{"tools": ["deploy*"], "from": 9, "to": 17, "offset-minutes": 60}`)
	if err != nil {
		t.Fatal(err)
	}
	for text, open := range map[string]bool{
		"2026-11-20T08:00:00Z": true,  // a Friday, 9:00 there
		"2026-11-20T07:59:59Z": false,
		"2026-11-20T16:00:00Z": false, // 17:00 there
		"2026-11-21T10:00:00Z": false, // a Saturday
	} {
		moment, _ := time.Parse(time.RFC3339, text)
		if rules.Open(uint64(moment.UnixMilli())) != open {
			t.Errorf("%s: expected open to be %v", text, open)
		}
	}
	if !rules.Concern("deploy_web") || rules.Concern("read") {
		t.Error("the patterns of tools")
	}
}
