// Package hours holds the rules, which know nothing of the router: `go test ./hours` runs anywhere.
package hours

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"
)

// Rules are a plugin's config.
type Rules struct {
	Tools   []string       `json:"tools"`
	From    int            `json:"from"`
	To      int            `json:"to"`
	Days    []time.Weekday `json:"days"`
	Offset  int            `json:"offset-minutes"`
	PerDay  int64          `json:"per-day"`
}

// Read checks a config.
func Read(config string) (Rules, error) {
	rules := Rules{Days: []time.Weekday{1, 2, 3, 4, 5}}
	if err := json.Unmarshal([]byte(config), &rules); err != nil {
		return rules, err
	}
	if len(rules.Tools) == 0 {
		return rules, errors.New("tools: at least one is wanted")
	}
	for _, pattern := range rules.Tools {
		if _, err := path.Match(pattern, ""); err != nil {
			return rules, fmt.Errorf("tools: %q: %w", pattern, err)
		}
	}
	if rules.From < 0 || rules.To > 24 || rules.From > rules.To {
		return rules, errors.New("from, to: hours from 0 to 24 are wanted")
	}
	return rules, nil
}

// Concern says whether they are about a tool.
func (rules Rules) Concern(tool string) bool {
	return slices.ContainsFunc(rules.Tools, func(pattern string) bool {
		fits, err := path.Match(pattern, tool)
		return err == nil && fits
	})
}

// local is a moment as clocks on the wall show it.
func (rules Rules) local(ms uint64) time.Time {
	return time.UnixMilli(int64(ms)).UTC().Add(time.Duration(rules.Offset) * time.Minute)
}

// Open says whether a moment is in office hours.
func (rules Rules) Open(ms uint64) bool {
	now := rules.local(ms)
	return slices.Contains(rules.Days, now.Weekday()) && rules.From <= now.Hour() && now.Hour() < rules.To
}

// Day names the day of a moment.
func (rules Rules) Day(ms uint64) string {
	return rules.local(ms).Format(time.DateOnly)
}
