//go:build e2e

package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// S3, registry --- switch --- two nodes, etcd. The servers are real ones, which
// check what they are sent, signatures included: an object leaves S3 once for both
// nodes, an image comes whole, and who has other keys is told so.
func TestSourcesThatAreReal(t *testing.T) {
	const access, secret, other = "AKIDOFTHETEST", "a-secret-of-the-test", "not-the-secret"
	l := lab.New(t)
	s3 := l.Machine("s3", 0).S3(access, secret)
	hub := l.Machine("registry", 0)
	registry := hub.Registry()
	etcd := l.Machine("etcd", 0).Etcd()

	large := content.Object{Seed: 91, Size: 24 * mib}
	path, err := large.File(lab.Out("objects"))
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(s3.Dir, "models", "llm"), 0o755))
	body, err := os.ReadFile(path) // a link would need one file system
	must(t, err)
	must(t, os.WriteFile(filepath.Join(s3.Dir, "models", "llm", "large.bin"), body, 0o644))
	push(hub, registry, path, lab.Digest(large))

	var nodes []*lab.Node
	for i, key := range []string{secret, secret, other} {
		m := l.Machine(fmt.Sprint("node", i+1), 0)
		keys, conf := filepath.Join(m.Dir, "keys"), filepath.Join(m.Dir, "shatabdi.yaml")
		must(t, os.WriteFile(keys, fmt.Appendf(nil, "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", access, key), 0o600))
		must(t, os.WriteFile(conf, fmt.Appendf(nil, "sources:\n  s3: {buckets: [models], endpoint: %q, region: us-east-1, path_style: true, credentials_file: %s}\n  oci: {insecure: [%q]}\n", s3.URL, keys, registry), 0o600))
		nodes = append(nodes, m.Shatabdi("--etcd-endpoints", etcd.URL, "--config", conf))
	}
	run := func(n *lab.Node, args ...string) string {
		t.Helper()
		return n.Machine.Run(append([]string{l.Binary()}, args...)...)
	}

	sent := s3.Machine.Sent()
	run(nodes[0], "get", "s3://models/llm/large.bin", "-o", "first.bin")
	run(nodes[1], "warm", "s3://models/llm/", "--pin")
	run(nodes[1], "get", "s3://models/llm/large.bin", "-o", "second.bin")
	if x := float64(s3.Machine.Sent()-sent) / float64(large.Size); x > 1.05 {
		t.Errorf("S3 sent %.3f x the object", x)
	}
	for i, name := range []string{"first.bin", "second.bin"} {
		b, err := os.ReadFile(filepath.Join(nodes[i].Machine.Dir, name))
		must(t, err)
		if fmt.Sprintf("%x", sha256.Sum256(b)) != lab.Digest(large) {
			t.Errorf("%s has other bytes", name)
		}
	}
	out, err := nodes[2].Machine.Try(l.Binary(), "get", "s3://models/llm/large.bin", "-o", "third.bin")
	if err == nil || !strings.Contains(out, "refuses the secret key from profile default") || strings.Contains(out, other) {
		t.Errorf("with another key: %v: %s", err, out)
	}
	if out, err := nodes[0].Machine.Try(l.Binary(), "get", "s3://models/none"); err == nil || !strings.Contains(out, "there is no s3://models/none") {
		t.Errorf("%v: %s", err, out)
	}

	image := "oci://" + registry + "/team/app:v1"
	sent = hub.Sent()
	if out := run(nodes[2], "warm", "--all", image); !strings.HasPrefix(out, "9 of 9 objects") { // manifest, configuration, layer
		t.Error(out)
	}
	// Who asks for it in the same moment learns from the first response that another fills.
	if x := float64(hub.Sent()-sent) / float64(large.Size); x > 1.5 {
		t.Errorf("the registry sent %.3f x the image", x)
	}
	run(nodes[0], "get", image, "-o", "image/")
	b, err := os.ReadFile(filepath.Join(nodes[0].Machine.Dir, "image", "blobs", "sha256", lab.Digest(large)))
	must(t, err)
	if fmt.Sprintf("%x", sha256.Sum256(b)) != lab.Digest(large) {
		t.Error("the layer has other bytes")
	}
}

// push puts an image of one layer into a registry, as any client of it does.
func push(m *lab.Machine, registry, layer, digest string) {
	const config, kind = `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`, "application/vnd.docker.distribution.manifest.v2+json"
	blob := func(arg, digest string) {
		m.Run("sh", "-ec", `to=$(curl -sS -D - -o /dev/null -X POST "http://$0/v2/team/app/blobs/uploads/" | sed -n 's/^[Ll]ocation: *//p' | tr -d '\r')
			curl -sSf -X PUT -H 'Content-Type: application/octet-stream' --data-binary "$1" "$to&digest=sha256:$2"`, registry, arg, digest)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(config)))
	blob(config, sum)
	blob("@"+layer, digest)
	st, _ := os.Stat(layer)
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":%d,"digest":"sha256:%s"},`+
		`"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":%d,"digest":"sha256:%s"}]}`, kind, len(config), sum, st.Size(), digest)
	m.Run("curl", "-sSf", "-X", "PUT", "-H", "Content-Type: "+kind, "--data-binary", manifest, "http://"+registry+"/v2/team/app/manifests/v1")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
