package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"shatabdi/swarmcache/layout"
)

// S3 says where buckets are, and how to open them: on AWS, MinIO, Ceph and others.
type S3 struct {
	// Buckets are those that may be read; "*" is every one, none: no bucket may.
	Buckets   []string
	Endpoint  string // http:// or https://HOST[:PORT]; empty: AWS
	Region    string // empty: the endpoint is asked
	PathStyle bool   // the bucket is in the path; otherwise in the host's name where that is possible
	// CredentialsFile and Profile name a file in the format of ~/.aws/credentials, and
	// a section of it. Without the file: the environment, and then that file of
	// this user; without any of them requests are not signed.
	CredentialsFile string
	Profile         string
}

// buckets are those of an endpoint: s3://BUCKET/KEY. A slash at the end makes the
// key a prefix, which stands for all objects under it.
type buckets struct {
	cfg S3

	mu     sync.Mutex // guards the fields below
	client *minio.Core
}

func newBuckets(cfg S3) *buckets { return &buckets{cfg: cfg} }

func (b *buckets) Stat(ctx context.Context, u *url.URL) (Info, error) {
	c, o, err := b.object(u)
	if err != nil {
		return Info{}, err
	}
	st, err := c.StatObject(ctx, o.bucket, o.key, minio.StatObjectOptions{VersionID: o.version})
	if err != nil && minio.ToErrorResponse(err).StatusCode != 0 {
		err = b.reason(ctx, c, o, err)
	}
	if err != nil {
		return Info{}, b.explain(u, err)
	}
	return Info{Length: st.Size, Validator: st.ETag, Modified: st.LastModified, ContentType: st.ContentType, Immutable: o.version != ""}, nil
}

// reason asks once more why: the answer to a HEAD cannot say.
func (b *buckets) reason(ctx context.Context, c *minio.Core, o s3Object, denied error) error {
	opts := minio.GetObjectOptions{VersionID: o.version}
	if err := opts.SetRange(0, 1); err != nil {
		return err
	}
	body, _, _, err := c.GetObject(ctx, o.bucket, o.key, opts)
	if err != nil {
		return err
	}
	body.Close()
	return denied
}

func (b *buckets) Open(ctx context.Context, u *url.URL, i Info, r layout.Range) (io.ReadCloser, error) {
	c, o, err := b.object(u)
	if err != nil {
		return nil, err
	}
	opts := minio.GetObjectOptions{VersionID: o.version}
	if err := opts.SetRange(r.From, r.To-1); err != nil {
		return nil, err
	}
	if i.Validator != "" {
		if err := opts.SetMatchETag(i.Validator); err != nil {
			return nil, err
		}
	}
	body, got, h, err := c.GetObject(ctx, o.bucket, o.key, opts)
	switch {
	case err == nil:
	case minio.ToErrorResponse(err).StatusCode == http.StatusPreconditionFailed,
		minio.ToErrorResponse(err).StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return nil, ErrChanged
	default:
		return nil, b.explain(u, err)
	}
	// Not every server heeds If-Match, or Range.
	want := fmt.Sprintf("bytes %d-%d/%d", r.From, r.To-1, i.Length)
	if got.ETag != i.Validator || h.Get("Content-Range") != want && (r != layout.Range{To: i.Length} || got.Size != i.Length) {
		body.Close()
		return nil, ErrChanged
	}
	return body, nil
}

func (b *buckets) List(ctx context.Context, u *url.URL) (items []Item, err error) {
	if u.Path != "" && !strings.HasSuffix(u.Path, "/") {
		return nil, nil
	}
	c, o, err := b.object(u)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // or the listing would wait for us
	for st := range c.Client.ListObjects(ctx, o.bucket, minio.ListObjectsOptions{Prefix: o.key, Recursive: true}) {
		switch {
		case st.Err != nil:
			return nil, b.explain(u, st.Err)
		case strings.HasSuffix(st.Key, "/"), st.Size == 0:
			continue // what stands for a directory; what is empty
		case len(items) == MaxItems:
			return nil, errMany()
		}
		at := url.URL{Scheme: "s3", Host: o.bucket, Path: "/" + st.Key}
		items = append(items, Item{URL: at.String(), Name: strings.TrimPrefix(st.Key, o.key), Length: st.Size})
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if len(items) == 0 {
		return nil, notFound("there is nothing under s3://%s/%s", o.bucket, o.key)
	}
	return items, nil
}

type s3Object struct{ bucket, key, version string }

// object is what u names, and a client to ask.
func (b *buckets) object(u *url.URL) (*minio.Core, s3Object, error) {
	o := s3Object{bucket: u.Host, key: strings.TrimPrefix(u.Path, "/")}
	q := u.Query()
	o.version = q.Get("versionId")
	q.Del("versionId")
	if len(q) > 0 || o.bucket == "" || o.bucket != strings.ToLower(o.bucket) {
		return nil, o, malformed("want s3://BUCKET/KEY, and at most ?versionId=")
	}
	if !slices.Contains(b.cfg.Buckets, o.bucket) && !slices.Contains(b.cfg.Buckets, "*") {
		return nil, o, forbidden("its operator can allow it: sources.s3.buckets", "the bucket %s is none that this node may read", o.bucket)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.client == nil {
		c, err := b.connect()
		if err != nil {
			return nil, o, err
		}
		b.client = c
	}
	return b.client, o, nil
}

// s3Tries bounds how often a request is sent that fails for reasons that pass.
const s3Tries = 3

func (b *buckets) connect() (*minio.Core, error) {
	endpoint := b.cfg.Endpoint
	if endpoint == "" {
		endpoint = "https://s3.amazonaws.com"
	}
	at, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("sources.s3.endpoint: %w", err)
	}
	style := minio.BucketLookupAuto
	if b.cfg.PathStyle {
		style = minio.BucketLookupPath
	}
	transport, err := minio.DefaultTransport(at.Scheme == "https")
	if err != nil {
		return nil, err
	}
	transport.Proxy = nil // the environment's may be this daemon
	transport.DisableCompression = true
	return minio.NewCore(at.Host, &minio.Options{
		Creds: credentials.New(&keys{cfg: b.cfg}), Secure: at.Scheme == "https", Transport: transport,
		Region: b.cfg.Region, BucketLookup: style, MaxRetries: s3Tries,
	})
}

// keys finds the credentials, anew every minute: files are rewritten.
type keys struct {
	cfg   S3
	until time.Time
}

// keysStand is for how long.
const keysStand = time.Minute

// IsExpired implements credentials.Provider.
func (k *keys) IsExpired() bool { return time.Now().After(k.until) }

// RetrieveWithCredContext implements credentials.Provider.
func (k *keys) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	return k.Retrieve()
}

// Retrieve implements credentials.Provider. Its errors say what is missing where.
func (k *keys) Retrieve() (credentials.Value, error) {
	from, file := keysFrom(k.cfg)
	v := credentials.Value{SignerType: credentials.SignatureV4}
	switch {
	case from == noKeys:
		v.SignerType = credentials.SignatureAnonymous
	case file == "":
		v.AccessKeyID, v.SecretAccessKey, v.SessionToken = os.Getenv(accessVariable), os.Getenv(secretVariable), os.Getenv("AWS_SESSION_TOKEN")
		for name, value := range map[string]string{accessVariable: v.AccessKeyID, secretVariable: v.SecretAccessKey} {
			if value == "" {
				return v, forbidden("set both, or neither", "a credential for S3 is missing: %s is not in the environment", name)
			}
		}
	default:
		got, err := credentials.NewFileAWSCredentials(file, k.cfg.Profile).GetWithContext(nil)
		if err != nil || got.AccessKeyID == "" { // the error may quote the file
			return v, forbidden("", "%s", lacking(file, profileOf(k.cfg)))
		}
		v.AccessKeyID, v.SecretAccessKey, v.SessionToken = got.AccessKeyID, got.SecretAccessKey, got.SessionToken
	}
	k.until = time.Now().Add(keysStand)
	return v, nil
}

const (
	accessVariable = "AWS_ACCESS_KEY_ID"
	secretVariable = "AWS_SECRET_ACCESS_KEY"
	noKeys         = "no credentials"
)

// keysFrom says where the credentials are, as people call it, and in which file;
// that is empty for the environment.
func keysFrom(cfg S3) (from, file string) {
	file = cfg.CredentialsFile
	if file == "" && (os.Getenv(accessVariable) != "" || os.Getenv(secretVariable) != "") {
		return "the environment (" + accessVariable + ")", ""
	}
	if file == "" {
		file = os.Getenv("AWS_SHARED_CREDENTIALS_FILE")
	}
	if file == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return noKeys, ""
		}
		file = filepath.Join(home, ".aws", "credentials")
		if _, err := os.Stat(file); err != nil {
			return noKeys, ""
		}
	}
	return fmt.Sprintf("profile %s of %s", profileOf(cfg), file), file
}

func profileOf(cfg S3) string { return cmp.Or(cfg.Profile, os.Getenv("AWS_PROFILE"), "default") }

// lacking says why there are no credentials in a profile of a file.
func lacking(file, profile string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "the credentials for S3 cannot be read: " + err.Error()
	}
	has, inside := map[string]bool{}, false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			inside = strings.Trim(line, "[] ") == profile
			has["profile"] = has["profile"] || inside
		}
		if name, value, ok := strings.Cut(line, "="); ok && inside && strings.TrimSpace(value) != "" {
			has[strings.ToLower(strings.TrimSpace(name))] = true
		}
	}
	if !has["profile"] {
		return fmt.Sprintf("there is no profile %s in %s", profile, file)
	}
	for _, name := range []string{"aws_access_key_id", "aws_secret_access_key"} {
		if !has[name] {
			return fmt.Sprintf("a credential for S3 is missing: %s is not in profile %s of %s", name, profile, file)
		}
	}
	return fmt.Sprintf("profile %s of %s holds no credentials that can be read", profile, file)
}

// explain says what S3 refuses, and which credentials that is about; never what
// is in them.
func (b *buckets) explain(u *url.URL, err error) error {
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	e := minio.ToErrorResponse(err)
	from, _ := keysFrom(b.cfg)
	name := u.Redacted()
	switch e.Code {
	case "NoSuchKey", "NoSuchVersion":
		return notFound("there is no %s", name)
	case "NoSuchBucket":
		return notFound("there is no bucket %s", u.Host)
	case "InvalidAccessKeyId":
		return forbidden("", "S3 does not know the access key from %s (%s)", from, e.Code)
	case "SignatureDoesNotMatch":
		return forbidden("", "S3 refuses the secret key from %s (%s)", from, e.Code)
	case "ExpiredToken", "InvalidToken", "ExpiredTokenException":
		return forbidden("", "S3 refuses the session token from %s (%s)", from, e.Code)
	case "AccessDenied":
		if from == noKeys {
			return forbidden("set "+accessVariable+" and "+secretVariable+" in the daemon's environment, or sources.s3.credentials_file",
				"S3 wants credentials for %s, and there are none", name)
		}
		return forbidden("", "S3 does not let the credentials from %s read %s (%s)", from, name, e.Code)
	}
	if e.StatusCode == http.StatusNotFound {
		return notFound("there is no %s", name)
	}
	if e.Code != "" {
		return fmt.Errorf("S3 says %s about %s", e.Code, name) // its message may quote the request
	}
	var network *url.Error
	if errors.As(err, &network) {
		err = network.Err
	}
	return fmt.Errorf("S3 cannot be asked about %s: %w", name, err)
}
