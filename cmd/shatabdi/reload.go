package main

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"shatabdi/policy"
	"shatabdi/swarmcache/api"
	"shatabdi/swarmcache/events"
)

// live are the settings that a reload changes in a running daemon. The others need
// a restart.
var live = []string{
	"mode", "drain_timeout", "peer.uplink", "peer.upload_limit", "peer.download_limit",
	"cache.swarm_threshold", "warmup.urls", "warmup.manifest", "warmup.hot", "log.level", "rules",
}

var errNotRunning = errors.New("the daemon is starting, or stops")

// reload reads the configuration again and puts into effect what can be. When
// something is wrong with it nothing changes.
func (d *daemon) reload(p *parts) (api.Reloaded, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	out := api.Reloaded{Changed: []api.SettingChange{}, Restart: []api.SettingChange{}, Warnings: []string{}}
	if d.again == nil || d.parts.Load() != p {
		return out, errNotRunning
	}
	read, err := d.again()
	if err != nil {
		return out, wrongConfig(err)
	}
	token, err := d.nextToken()
	if err != nil {
		return out, wrongConfig(err)
	}
	if name := d.cfg.Admin.TokenFile; token != nil {
		d.admin.token.Store(token)
		out.Changed = append(out.Changed, api.SettingChange{Key: "admin.token_file", From: name, To: name + ", with another token"})
	}
	out.Warnings = append(out.Warnings, read.warnings...)
	old := d.current.Load()
	next := &loaded{Config: old.Config, from: map[string]string{}}
	from, to := reflect.ValueOf(&read.Config).Elem(), reflect.ValueOf(&next.Config).Elem()
	for _, s := range settings {
		was, _ := fieldAt(to, s.key)
		is, _ := fieldAt(from, s.key)
		takes := slices.Contains(live, s.key)
		if same := reflect.DeepEqual(was.Interface(), is.Interface()); !same {
			change := api.SettingChange{Key: s.key, From: settingText(was), To: settingText(is)}
			if takes {
				out.Changed = append(out.Changed, change)
			} else {
				out.Restart = append(out.Restart, change)
			}
		}
		source := old
		if takes {
			was.Set(is)
			source = read
		}
		if text, ok := source.from[s.key]; ok {
			next.from[s.key] = text
		}
	}
	d.apply(p, &old.Config, next)
	d.events.Tell(events.Event{Kind: events.Reloaded, Count: uint64(len(out.Changed))})
	return out, nil
}

// nextToken is the token that the file of the present one holds now; nil: the same.
func (d *daemon) nextToken() (*string, error) {
	now := d.admin.token.Load()
	if now == nil {
		return nil, nil
	}
	token, err := readToken(d.cfg.Admin.TokenFile)
	if err != nil || token == *now {
		return nil, err
	}
	return &token, nil
}

// apply makes next what is in effect.
func (d *daemon) apply(p *parts, old *Config, next *loaded) {
	d.current.Store(next)
	d.rules.Store(next.Policy())
	if d.level != nil {
		d.level.Set(next.Log.level())
	}
	// What an operator has set for now stays where the configuration says nothing new.
	up, down := p.swarm.Limits()
	if was, is := old.Peer.Upload(), next.Peer.Upload(); was != is {
		up = int64(is)
	}
	if was, is := old.Peer.DownloadLimit, next.Peer.DownloadLimit; was != is {
		down = int64(is)
	}
	p.swarm.SetLimits(up, down)
	if w := next.Warmup; w.wanted() && !reflect.DeepEqual(old.Warmup, w) {
		d.runWarmup(p, w, func(error) {})
	}
}

// hangup is what HUP asks for.
func (d *daemon) hangup() {
	p := d.parts.Load()
	if p == nil {
		d.log.Warn("the configuration stays as it is", "signal", "HUP", "error", errNotRunning)
		return
	}
	out, err := d.reload(p)
	if err != nil {
		d.log.Error("the configuration stays as it is", "signal", "HUP", "error", err)
		return
	}
	keys := func(changes []api.SettingChange) (keys []string) {
		for _, c := range changes {
			keys = append(keys, c.Key)
		}
		return keys
	}
	d.log.Info("configuration reloaded", "signal", "HUP", "changed", keys(out.Changed), "needs_restart", keys(out.Restart), "warnings", out.Warnings)
}

// limits are those that the configuration sets.
func (d *daemon) limits() (up, down int64) {
	peer := d.current.Load().Peer
	return int64(peer.Upload()), int64(peer.DownloadLimit)
}

// settings are those in effect, with nothing that is a secret.
func (d *daemon) settings() (all []api.Setting) {
	l := d.current.Load()
	root := reflect.ValueOf(&l.Config).Elem()
	for _, s := range settings {
		field, _ := fieldAt(root, s.key)
		all = append(all, api.Setting{Key: s.key, Value: settingText(field), From: l.source(s.key), Live: slices.Contains(live, s.key)})
	}
	return all
}

// settingText is how a setting is shown. The query of a URL may be a credential.
func settingText(v reflect.Value) string {
	if rules, ok := v.Interface().([]policy.Rule); ok {
		if len(rules) == 0 {
			return "none"
		}
		return strings.TrimPrefix(value(v, ""), "\n")
	}
	all := texts(v)
	for i, text := range all {
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			if u.RawQuery != "" {
				u.RawQuery = "redacted"
			}
			all[i] = u.Redacted()
		}
	}
	return strings.Join(all, ", ")
}

// wrongConfig is what is wrong with a configuration, for the API.
func wrongConfig(err error) error {
	var e *cliError
	if errors.As(err, &e) {
		err = e.err
	}
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	wrong := &api.ConfigError{}
	for _, err := range all {
		where, text, ok := strings.Cut(err.Error(), ": ")
		if !ok {
			where, text = "", err.Error()
		}
		wrong.Problems = append(wrong.Problems, api.ConfigProblem{Where: where, Text: text})
	}
	return fmt.Errorf("configuration: %w", wrong)
}
