package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"shatabdi/policy"
)

// Question is a request that is to be explained.
type Question struct {
	Request policy.Request
	Ask     bool // the origin too
}

// Explanation is what would become of a request now, and why.
type Explanation struct {
	Method   string           `json:"method"`
	URL      string           `json:"url" doc:"Without the parameters that its key leaves out: they may be credentials."`
	Key      policy.Key       `json:"key,omitempty" doc:"What selects it."`
	FetchURL string           `json:"fetch_url,omitempty" doc:"Where it is fetched from, when that is another URL."`
	Route    ExplainedRoute   `json:"route"`
	Stored   *ExplainedStored `json:"stored,omitempty" doc:"What is stored under the key; absent: nothing is known."`
	Verdict  Reasoned         `json:"verdict" doc:"What is done with the request."`
	From     ExplainedFrom    `json:"from" doc:"Where the bytes would come from."`
	Last     string           `json:"last_answer,omitempty" enum:"stored,small,not-stored" doc:"What the origin's last answer was; absent: not remembered."`
	Answer   *ExplainedAnswer `json:"answer,omitempty" doc:"What the origin says now; with ask only."`
}

// Reasoned is a decision and its reason.
type Reasoned struct {
	Decision string `json:"decision" doc:"Of a route: swarm, pass or deny. Of a request: serve, revalidate, fetch, bypass, refuse, serve-and-revalidate, pass or deny. Of an answer: store or pass."`
	Reason   string `json:"reason" doc:"A word of Cache-Status, where there is one."`
	Text     string `json:"text"`
	Clause   string `json:"clause,omitempty" doc:"Where that is written; absent where a rule or a setting says so."`
}

// ExplainedRoute is what the rules make of a request.
type ExplainedRoute struct {
	Reasoned
	Rule        *int   `json:"rule,omitempty" doc:"Which of the rules decided, from 0."`
	RuleName    string `json:"rule_name,omitempty"`
	Threshold   int64  `json:"threshold_bytes" doc:"Smaller bodies are not for the swarm."`
	Streams     int    `json:"streams" doc:"From the origin, for one object."`
	ExpectLarge bool   `json:"expect_large" doc:"Worth a claim before the first request."`
}

// ExplainedStored is what is stored.
type ExplainedStored struct {
	Object     string     `json:"object,omitempty" doc:"Absent: it is small, and in this node's memory."`
	Length     int64      `json:"length" minimum:"0"`
	Complete   bool       `json:"complete" doc:"All of it is on this node."`
	Here       int64      `json:"here_bytes" minimum:"0" doc:"As much is on this node."`
	Age        int64      `json:"age_seconds" minimum:"0"`
	FreshFor   int64      `json:"fresh_for_seconds" doc:"Negative: stale for so long."`
	FreshUntil *time.Time `json:"fresh_until,omitempty"`
	Validator  string     `json:"validator,omitempty"`
}

// ExplainedFrom is where bytes would come from.
type ExplainedFrom struct {
	Source    string          `json:"source" enum:"here,memory,fill,peers,origin,nobody" doc:"fill: they are being fetched from the origin, once for all."`
	Peers     *ExplainedPeers `json:"peers,omitempty" doc:"Who takes part in its swarms, as the tracker knows; absent: it does not."`
	Fill      *ExplainedFill  `json:"fill,omitempty"`
	Directory string          `json:"directory,omitempty" doc:"Why the cluster could not be asked."`
}

// ExplainedPeers are the members of an object's swarms.
type ExplainedPeers struct {
	Complete   int `json:"complete" minimum:"0" doc:"Those who have all of it."`
	Incomplete int `json:"incomplete" minimum:"0"`
}

// ExplainedFill is a fill under way.
type ExplainedFill struct {
	Opener string `json:"opener" doc:"The node that opened it."`
	Single bool   `json:"single" doc:"One node reads all of it: the origin has no ranges, or no strong validator."`
	Here   bool   `json:"here" doc:"This node takes part."`
}

// ExplainedAnswer is an answer of the origin.
type ExplainedAnswer struct {
	Status   int      `json:"status,omitempty"`
	Length   *int64   `json:"length,omitempty" doc:"Absent: not told."`
	Verdict  Reasoned `json:"verdict" doc:"Whether it would be stored."`
	Fresh    *int64   `json:"fresh_seconds,omitempty" doc:"For how long it is fresh after it was made."`
	Explicit bool     `json:"explicit" doc:"Somebody says for how long; otherwise it is a guess by Last-Modified."`
}

func (s *service) registerExplain(api huma.API) {
	op := operation("explain", http.MethodGet, "explain", "What would become of a request, and why")
	op.Description = "Nothing of it happens. With ask the origin is sent a GET with the given headers, of whose answer the head is read."
	huma.Register(api, op, func(ctx context.Context, in *struct {
		URL    string   `query:"url" required:"true" minLength:"1" maxLength:"8192" doc:"As clients ask for it."`
		Method string   `query:"method" default:"GET" enum:"GET,HEAD,POST,PUT,DELETE,OPTIONS,PATCH"`
		Header []string `query:"header,explode" maxItems:"64" doc:"A field of the request, as in Cache-Control: no-cache; may be given several times."`
		Ask    bool     `query:"ask" doc:"Ask the origin too."`
	}) (*struct{ Body Explanation }, error) {
		u, err := s.fetchable(in.URL, "query.url")
		if err != nil {
			return nil, err
		}
		parsed, err := url.Parse(u)
		if err != nil {
			return nil, invalid("query.url", err.Error())
		}
		h := http.Header{}
		for _, line := range in.Header {
			name, value, ok := strings.Cut(line, ":")
			if name = strings.TrimSpace(name); !ok || name == "" {
				return nil, invalid("query.header", "want NAME: VALUE")
			}
			h.Add(name, strings.TrimSpace(value))
		}
		// An origin may take its time, more than an order's body may.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		e := s.Explain(ctx, Question{policy.Request{Method: in.Method, URL: parsed, Header: h}, in.Ask})
		e.Method, e.URL = in.Method, s.shown(u)
		if e.FetchURL = s.shown(e.FetchURL); e.FetchURL == e.URL {
			e.FetchURL = ""
		}
		return &struct{ Body Explanation }{e}, nil
	})
}

// Because is a decision with what policy says of its reason.
func Because(decision, reason string) Reasoned {
	why := policy.Explain(reason)
	return Reasoned{decision, reason, why.Text, why.Clause}
}
