package main

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// leaves returns the keys of all values in a struct of the configuration.
func leaves(t reflect.Type, key string) []string {
	var keys []string
	for i := range t.NumField() {
		path, ft := join(key, keyOf(t.Field(i))), t.Field(i).Type
		if ft.Kind() == reflect.Struct && !isScalar(ft) {
			keys = append(keys, leaves(ft, path)...)
			continue
		}
		keys = append(keys, path)
	}
	return keys
}

func TestSettingsAreTheFieldsOfConfig(t *testing.T) {
	var keys []string
	seen := map[string]bool{}
	for _, s := range settings {
		keys = append(keys, s.key)
		if seen[s.env()] {
			t.Errorf("%s stands for two settings", s.env())
		}
		seen[s.env()] = true
	}
	if want := leaves(reflect.TypeFor[Config](), ""); !slices.Equal(keys, want) {
		t.Errorf("settings\n%q\nfields\n%q", keys, want)
	}
}

// The flags that users and scripts rely on.
func TestFlagsOfServe(t *testing.T) {
	cmd := serveCommand()
	for _, name := range []string{
		"config", "data-dir", "proxy-listen", "admin-listen", "tracker-listen", "peer-listen", "advertise",
		"allow", "allow-destination", "etcd-endpoints", "etcd-listen-client", "etcd-listen-peer",
		"swarm-threshold", "small", "upload-limit", "download-limit", "uplink", "cache-size", "zone", "rack", "log-level",
	} {
		if cmd.Flags().Lookup(name) == nil {
			t.Errorf("serve has no --%s", name)
		}
	}
}

func TestDefaultsAreValid(t *testing.T) {
	c := DefaultConfig()
	if p := c.Validate(); len(p) > 0 {
		t.Errorf("%v", p)
	}
}

// loadWith loads a file with this text, under the given variables and arguments.
func loadWith(t *testing.T, yaml string, env []string, args ...string) (*loaded, error) {
	t.Helper()
	cmd := &cobra.Command{Use: "test"}
	f := bind(cmd)
	if yaml != "" {
		name := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(name, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", name)
	}
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return load(f, env)
}

func TestFlagOverEnvironmentOverFileOverDefault(t *testing.T) {
	l, err := loadWith(t,
		"cache: {size: 1GiB, min_free: 2GiB, swarm_threshold: 3MiB}\nnode: {zone: f, advertise: [10.0.0.1, 10.0.0.2]}",
		[]string{"SHATABDI_CACHE_MIN_FREE=20GiB", "SHATABDI_SWARM_THRESHOLD=30MiB", "SHATABDI_ADVERTISE=10.0.1.1,10.0.1.2", "SHATABDI_RACK="},
		"--swarm-threshold=300MiB", "--advertise=10.0.2.1", "--advertise", "fd00::1")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		key  string
		got  any
		want any
		from string
	}{
		{"cache.size", l.Cache.Size, Share{Bytes: 1 << 30}, "file "},
		{"cache.min_free", l.Cache.MinFree, Share{Bytes: 20 << 30}, "env SHATABDI_CACHE_MIN_FREE"},
		{"cache.swarm_threshold", l.Cache.SwarmThreshold, Size(300 << 20), "flag --swarm-threshold"},
		{"cache.small", l.Cache.Small, "pass", "default"},
		{"node.zone", l.Node.Zone, "f", "file "},
		{"node.rack", l.Node.Rack, "", "default"},
		{"node.advertise", l.Node.Advertise, []netip.Addr{netip.MustParseAddr("10.0.2.1"), netip.MustParseAddr("fd00::1")}, "flag --advertise"},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) || !strings.HasPrefix(l.source(tt.key), tt.from) {
			t.Errorf("%s = %v from %s; want %v from %s", tt.key, tt.got, l.source(tt.key), tt.want, tt.from)
		}
	}
}

// A variable that is set repairs what is wrong in the file.
func TestOverriddenMistakesDoNotMatter(t *testing.T) {
	l, err := loadWith(t, "node: {advertise: [nonsense]}\nlog: {level: loud}", []string{"SHATABDI_LOG_LEVEL=warn"}, "--advertise=10.0.0.1")
	if err != nil || l.Log.Level != "warn" || len(l.Node.Advertise) != 1 {
		t.Errorf("%v", err)
	}
}

func TestProblems(t *testing.T) {
	for _, tt := range []struct {
		name, yaml string
		env, args  []string
		want       []string // part of each problem, in order
	}{
		{name: "wider proxy", args: []string{"--proxy-listen=:3128"}, want: []string{"--proxy-listen: :3128 is reachable from other machines"}},
		{name: "wider proxy by name", args: []string{"--proxy-listen=cache.example.com:3128"}, want: []string{"reachable"}},
		{name: "wider proxy, allowed", args: []string{"--proxy-listen=:3128", "--allow=10.0.0.0/8"}},
		{name: "wider admin", args: []string{"--admin-listen=0.0.0.0:3180"}, want: []string{"want a loopback address"}},
		{name: "loopback v6", args: []string{"--admin-listen=[::1]:3180"}},
		{name: "no port", args: []string{"--peer-listen=10.0.0.1"}, want: []string{"want HOST:PORT"}},
		{name: "port out of range", args: []string{"--peer-listen=:70000"}, want: []string{"want HOST:PORT"}},
		{name: "same address twice", args: []string{"--admin-listen=127.0.0.1:3128"}, want: []string{"is the address of proxy.listen already"}},
		{name: "any free port, twice", args: []string{"--admin-listen=127.0.0.1:0", "--proxy-listen=127.0.0.1:0"}},
		{name: "advertise nobody", args: []string{"--advertise=0.0.0.0"}, want: []string{"no address another node could connect to"}},
		{name: "two upload limits", args: []string{"--uplink=1Gbit/s", "--upload-limit=4MiB/s"}, want: []string{"want one of them"}},
		{name: "bits for bytes", args: []string{"--upload-limit=100"}, want: []string{"too slow"}},
		{name: "no cache", args: []string{"--cache-size=0"}, want: []string{"mode: pass"}},
		{name: "volume in the data directory", args: []string{"--data-dir=/srv/data", "--volume=/srv/data/objects"}, want: []string{"lies in data_dir"}},
		{name: "small", env: []string{"SHATABDI_SMALL=perhaps"}, want: []string{`SHATABDI_SMALL: "perhaps"; want pass or cache`}},
		{name: "endpoint without scheme", args: []string{"--etcd-endpoints=10.0.0.1:2379"}, want: []string{"want http:// or https://HOST:PORT"}},
		{name: "endpoint with a password", args: []string{"--etcd-endpoints=tcp://u:secret@h:1"}, want: []string{"u:xxxxx@h"}},
		{name: "half a key pair", yaml: "etcd: {endpoints: https://h:1, cert_file: a}", want: []string{"cert_file and etcd.key_file together"}},
		{name: "credentials for nobody", yaml: "etcd: {user: u, password_file: p}", want: []string{"there are credentials for it"}},
		{name: "two members", args: []string{"--node-name=a", "--etcd-initial-cluster=a=http://h:1,b=http://i:1"}, want: []string{"want 1, 3, 5 or 7"}},
		{name: "not a member", args: []string{"--node-name=z", "--etcd-initial-cluster=a=http://h:1"}, want: []string{`does not list this node, "z"`}},
		{name: "member without URL", yaml: "node: {name: a}\netcd: {initial_cluster: {a: nothing}}", want: []string{"c.yaml:2:29: etcd.initial_cluster.a:"}},
		{name: "member without URL, by flag", args: []string{"--node-name=a", "--etcd-initial-cluster=a=nothing"}, want: []string{"--etcd-initial-cluster: \"nothing\"; want http://HOST:PORT"}},
		{name: "a key that is not there", yaml: "etcd:\n  user: u\n  password_file: p", want: []string{"c.yaml:1:1: etcd.endpoints: empty, but"}},
		{name: "rule", yaml: "rules:\n- route: swarm\n- host: a\n  route: elsewhere", want: []string{`c.yaml:4:10: rules[1].route: "elsewhere" is not known, want swarm, pass or deny`}},
		{name: "auth", yaml: "rules:\n- auth: ask", want: []string{`rules[0].auth: "ask" is not known, want probe`}},
		{name: "auth by the response", yaml: "rules:\n- auth: probe\n  content_type: a/b", want: []string{"rules[0].auth: is decided before the response is known"}},
		{name: "rule key", yaml: "rules:\n- route: swarm\n  key: {ignore_qeury: true}", want: []string{"did you mean ignore_query?"}},
		{name: "validity without a time", yaml: "rules:\n- cache_valid: [200 1m, 404 soon]", want: []string{"c.yaml:2:25: rules[0].cache_valid[1]: \"404 soon\": \"soon\" is no time; want one such as 30s, 10m, 1h30m or 1d, or seconds\n     2 | - cache_valid: [200 1m, 404 soon]\n                                 ^"}},
		{name: "validity without a status", yaml: "rules:\n- cache_valid: some 1h", want: []string{"c.yaml:2:16: rules[0].cache_valid[0]: \"some 1h\": \"some\" is no status; want 200 to 599, or any"}},
		{name: "what cannot be ignored", yaml: "rules:\n- ignore_headers: [Expires, Date]", want: []string{"c.yaml:2:29: rules[0].ignore_headers[1]: \"Date\" is not known, want one of Cache-Control"}},
		{name: "no variable", yaml: "rules:\n- route: swarm\n  no_cache:\n  - $http_pragma\n  - $upstream_cookie", want: []string{"c.yaml:5:5: rules[0].no_cache[1]: \"$upstream_cookie\": $upstream_cookie is no variable"}},
		{name: "bypass by the response", yaml: "rules:\n- cache_bypass: $upstream_status", want: []string{"c.yaml:2:3: rules[0].cache_bypass: \"$upstream_status\" is decided before there is a response"}},
		{name: "uses below none", yaml: "rules:\n- cache_min_uses: -1", want: []string{"c.yaml:2:19: rules[0].cache_min_uses: -1 is negative"}},
		{name: "no failure", yaml: "rules:\n- cache_use_stale: [error, http_418]", want: []string{"c.yaml:2:28: rules[0].cache_use_stale[1]: \"http_418\" is not known, want one of error"}},
		{name: "off and on", yaml: "rules:\n- cache_use_stale: [error, off]", want: []string{"c.yaml:2:3: rules[0].cache_use_stale: off stands alone"}},
		{name: "half a switch", yaml: "rules:\n- x_accel_expires: maybe", want: []string{"c.yaml:2:20: rules[0].x_accel_expires: \"maybe\" is neither true nor false"}},
		{name: "directories", yaml: "downloads: {directories: [out, /]}\nuploads: {directories: /srv/in}", want: []string{"c.yaml:1:27: downloads.directories[0]: \"out\"; want the absolute path", "downloads.directories[1]"}},
		{name: "warm-up", yaml: "warmup: {urls: [ftp://a/b, http://a/b, \"shatabdi://0/b\"], manifest: list, deadline: 0s}", want: []string{"warmup.urls[0]", "warmup.manifest", "warmup.deadline"}},
		{name: "unknown key", yaml: "proxy:\n  lissten: a", want: []string{"c.yaml:2:3: proxy.lissten: unknown key; did you mean listen?\n     2 |   lissten: a\n           ^"}},
		{name: "unknown key, far off", yaml: "xyz: 1", want: []string{"unknown key; want one of data_dir, mode"}},
		{name: "wrong shapes", yaml: "node: 1\nlog: {level: [a]}\nresolver: {hosts: [a]}", want: []string{"1:7: node: want keys (name", "log.level: want one value, not a list", "want NAME: VALUE"}},
		{name: "key twice", yaml: "mode: pass\nmode: pass", want: []string{"2:1"}},
		{name: "syntax", yaml: "mode: [", want: []string{"c.yaml:1"}},
		{name: "two documents", yaml: "mode: pass\n---\nmode: swarm", want: []string{"a second YAML document"}},
		{name: "alias to nothing", yaml: "node: {zone: *a}", want: []string{"alias *a without an anchor"}},
		{name: "file and environment and flag", yaml: "log:\n  level: loud\ncache:\n  size: much\n", env: []string{"SHATABDI_SMALL=x"}, args: []string{"--mode=y"},
			want: []string{"--mode", "SHATABDI_SMALL", "2:10: log.level", "4:9: cache.size"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadWith(t, tt.yaml, tt.env, tt.args...)
			var got []error
			if ce := (*cliError)(nil); errors.As(err, &ce) {
				if ce.code != exitUsage || ce.hint == "" {
					t.Errorf("exit code %d, hint %q", ce.code, ce.hint)
				}
				got = ce.err.(interface{ Unwrap() []error }).Unwrap()
			}
			if len(got) != len(tt.want) {
				t.Fatalf("%d problems, want %d:\n%v", len(got), len(tt.want), err)
			}
			for i, want := range tt.want {
				if !strings.Contains(got[i].Error(), want) {
					t.Errorf("%v\nwant %s", got[i], want)
				}
			}
		})
	}
}

func TestAnchorsAndMergeKeys(t *testing.T) {
	l, err := loadWith(t, "origin:\n  dial_timeout: &t 3s\n  tls_timeout: *t\nrules:\n- &r {route: pass, methods: GET}\n- {<<: *r, route: deny}\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	if l.Origin.TLSTimeout != l.Origin.DialTimeout || l.Rules[1].Route != "deny" || !slices.Equal(l.Rules[1].Methods, []string{"GET"}) {
		t.Errorf("%+v %+v", l.Origin, l.Rules)
	}
}

func TestWarnings(t *testing.T) {
	l, err := loadWith(t, "", []string{"SHATABDI_PROXY_LISTN=x", "SHATABDI_SERVICE_HOST=10.0.0.1", "SHATABDI_PORT=tcp://10.0.0.1:1"},
		"--etcd-listen-client=http://10.0.0.1:2379")
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(l.warnings, "\n")
	if len(l.warnings) != 2 || !strings.Contains(all, "SHATABDI_PROXY_LISTN") || !strings.Contains(all, "without authentication") {
		t.Errorf("%s", all)
	}
}

func TestPrintReadsBack(t *testing.T) {
	l, err := loadWith(t, `
node: {name: a, advertise: [10.0.0.1, "fd00::1"], zone: "yes", rack: "a, b"}
resolver: {hosts: {origin.test: 10.0.0.5, v6.test: "fd00::5"}}
etcd: {initial_cluster: {a: "http://h:1"}}
peer: {uplink: 1Gbit/s}
cache: {size: 12.5%}
rules:
- name: "a: b"
  host: "*.example.com"
  upgrade: https
  methods: [GET, HEAD]
  key: {ignore_query: true, ignore_params: [sig, "X-Amz-*"]}
  expect_large: false
- {route: pass, min_size: 1MiB}
- host: nginx.example.com
  cache_valid: [200 302 10m, 404 1m, any 0s, 1h30m]
  ignore_headers: [Set-Cookie, Vary]
  cache_bypass: [$cookie_nocache, "${arg_a}$arg_b"]
  no_cache: $http_pragma
  cache_min_uses: 3
  cache_use_stale: [error, timeout, updating, http_503]
  cache_background_update: true
  x_accel_expires: true
  cdn_cache_control: false
- {cache_use_stale: off}
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	printEffective(&out, l)
	again, err := loadWith(t, out.String(), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if normal(again.Config) != normal(l.Config) || !reflect.DeepEqual(again.Rules, l.Rules) {
		t.Errorf("%+v\nwas\n%+v\n%s", again.Config, l.Config, &out)
	}
}

// normal makes empty and absent lists the same.
func normal(c Config) string {
	var out bytes.Buffer
	printEffective(&out, &loaded{Config: c})
	return out.String()
}

func TestPrintHidesPasswords(t *testing.T) {
	l, err := loadWith(t, "etcd: {endpoints: ['http://u:secret@h:2379']}", nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	printEffective(&out, l)
	if strings.Contains(out.String(), "secret") || !strings.Contains(out.String(), "http://u:xxxxx@h:2379") {
		t.Errorf("%s", &out)
	}
}

func TestExampleIsTheDefaults(t *testing.T) {
	var out bytes.Buffer
	printExample(&out, DefaultConfig())
	l, err := loadWith(t, out.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if normal(l.Config) != normal(DefaultConfig()) {
		t.Errorf("%s", &out)
	}
	// The rules in comments are right too.
	_, rules, _ := strings.Cut(out.String(), "rules: []\n")
	text := "rules:\n" + strings.ReplaceAll(strings.ReplaceAll("\n"+rules, "\n# ", "\n  "), "\n#", "\n")
	if l, err = loadWith(t, text, nil); err != nil || len(l.Rules) != 5 {
		t.Errorf("%v\n%s", err, text)
	}
}

// The sample files load, and differ from the defaults where they mean to.
func TestSampleFiles(t *testing.T) {
	const dir = "../../configs/"
	for name, differs := range map[string][]string{
		"minimal.yaml":     {"data_dir"},
		"single-node.yaml": {"data_dir", "proxy.allow_destination", "cache.size", "cache.small", "log.format", "rules"},
		"cluster.yaml": {"data_dir", "drain_timeout", "node.name", "node.advertise", "node.zone", "node.rack",
			"proxy.listen", "proxy.allow", "proxy.max_connections", "peer.uplink", "cache.size", "resolver.hosts",
			"etcd.endpoints", "etcd.ca_file", "etcd.cert_file", "etcd.key_file", "etcd.user", "etcd.password_file",
			"log.format", "rules"},
	} {
		l, err := load(&flags{file: dir + name}, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		defaults := DefaultConfig()
		defaults.DataDir, defaults.Node.Name = "", "" // depend on the machine
		for _, s := range settings {
			got, _ := fieldAt(reflect.ValueOf(l.Config), s.key)
			def, _ := fieldAt(reflect.ValueOf(defaults), s.key)
			given := strings.HasPrefix(l.source(s.key), "file ")
			same := value(got, "") == value(def, "")
			if given && same == slices.Contains(differs, s.key) {
				t.Errorf("%s: %s is%s, by default%s", name, s.key, value(got, ""), value(def, ""))
			}
			if !given && name == "cluster.yaml" {
				t.Errorf("%s leaves out %s", name, s.key)
			}
		}
	}
	if found, _ := filepath.Glob(dir + "*.yaml"); len(found) != 3 {
		t.Errorf("%q: not all are tested", found)
	}
}

// Whatever the file holds, it is read or refused.
func FuzzConfigFile(f *testing.F) {
	for _, name := range []string{"minimal", "single-node", "cluster"} {
		b, err := os.ReadFile("../../configs/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add("a: &a [*a]\nnode: {<<: *b}")
	f.Fuzz(func(t *testing.T, text string) {
		c := DefaultConfig()
		read := &file{name: "fuzz"}
		read.decode([]byte(text), reflect.ValueOf(&c).Elem())
		c.Validate()
		for _, p := range read.problems {
			if pos := read.position(p.key); pos != nil {
				read.excerpt(pos)
			}
		}
	})
}
