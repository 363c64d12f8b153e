package index

import (
	"fmt"
	"log/slog"
	"strings"
)

// badgerLogger bridges badger's log. What badger calls info is detail to us.
type badgerLogger struct{ log *slog.Logger }

func (l badgerLogger) Errorf(f string, a ...any)   { l.log.Error("badger", "detail", detail(f, a)) }
func (l badgerLogger) Warningf(f string, a ...any) { l.log.Warn("badger", "detail", detail(f, a)) }
func (l badgerLogger) Infof(f string, a ...any)    { l.log.Debug("badger", "detail", detail(f, a)) }

// Debugf drops the message: badger writes one for every table that it looks at.
func (l badgerLogger) Debugf(string, ...any) {}

func detail(f string, a []any) string { return strings.TrimSpace(fmt.Sprintf(f, a...)) }
