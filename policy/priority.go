package policy

import "fmt"

// Priority says how much of a limited link an object gets while others want it
// too. Unset is normal.
type Priority string

const (
	PriorityLow    Priority = "low"
	PriorityNormal Priority = "normal"
	PriorityHigh   Priority = "high"
)

// Validate reports a word that is not one of the priorities. The empty one is
// fine.
func (p Priority) Validate() error {
	switch p {
	case "", PriorityLow, PriorityNormal, PriorityHigh:
		return nil
	}
	return fmt.Errorf("%q is not known, want low, normal or high", p)
}
