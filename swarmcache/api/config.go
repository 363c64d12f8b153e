package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Setting is one key of the configuration, as it is in effect.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value" doc:"In the notation of the configuration file; passwords and queries of URLs are hidden."`
	From  string `json:"from" doc:"default, or the file with its line, the variable or the flag that says so."`
	Live  bool   `json:"live" doc:"A reload changes it; the others need a restart."`
}

// Settings is the configuration in effect, in the order of its file.
type Settings struct {
	Settings []Setting `json:"settings" nullable:"false"`
}

// SettingChange is a setting that another configuration changes.
type SettingChange struct {
	Key  string `json:"key"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Reloaded tells what reading the configuration again has changed.
type Reloaded struct {
	Changed  []SettingChange `json:"changed" nullable:"false" doc:"What is in effect now."`
	Restart  []SettingChange `json:"needs_restart" nullable:"false" doc:"What the configuration says, and is in effect after a restart only."`
	Warnings []string        `json:"warnings" nullable:"false"`
}

// ConfigError is what is wrong with a configuration.
type ConfigError struct{ Problems []ConfigProblem }

// ConfigProblem is one thing that is: where, as in shatabdi.yaml:3:7, and what.
type ConfigProblem struct{ Where, Text string }

func (e *ConfigError) Error() string {
	var all []string
	for _, p := range e.Problems {
		all = append(all, strings.TrimPrefix(p.Where+": "+p.Text, ": "))
	}
	return strings.Join(all, "\n")
}

func (s *service) registerConfig(api huma.API) {
	get := operation("get-config", http.MethodGet, "config", "The configuration in effect")
	huma.Register(api, get, func(context.Context, *struct{}) (*struct{ Body Settings }, error) {
		return &struct{ Body Settings }{Settings{s.Settings()}}, nil
	})

	reload := operation("reload", http.MethodPost, "reload", "Read the configuration again")
	reload.Description = "As HUP does. Rules, limits, the mode, the log's level and the warm-up change at once. " +
		"422, with every problem and its line: something is wrong with it, and nothing has changed."
	huma.Register(api, reload, func(context.Context, *struct{}) (*struct{ Body Reloaded }, error) {
		out, err := s.Reload()
		var wrong *ConfigError
		switch {
		case errors.As(err, &wrong):
			var details []error
			for _, p := range wrong.Problems {
				details = append(details, &huma.ErrorDetail{Location: p.Where, Message: p.Text})
			}
			return nil, huma.Error422UnprocessableEntity("the configuration is wrong, and nothing was changed", details...)
		case err != nil:
			return nil, huma.Error503ServiceUnavailable(err.Error())
		}
		return &struct{ Body Reloaded }{out}, nil
	})
}
