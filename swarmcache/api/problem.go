package api

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"syscall"

	"github.com/danielgtaylor/huma/v2"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/download"
)

// Problem is an error as clients get it (RFC 9457).
type Problem struct {
	Title  string `json:"title,omitempty"`
	Status int    `json:"status,omitempty"`
	Detail string `json:"detail,omitempty"`
	Errors []struct {
		Message  string `json:"message,omitempty"`
		Location string `json:"location,omitempty"` // such as body.url
	} `json:"errors,omitempty"`
}

// problem gives an error its status. Handlers return nothing else.
func problem(err error) error {
	var has huma.StatusError
	switch {
	case err == nil || errors.As(err, &has):
		return err
	case errors.Is(err, swarmcache.ErrNotFound):
		return huma.Error404NotFound("this node has no such object")
	case errors.Is(err, swarmcache.ErrBeingPut):
		return huma.ErrorWithHeaders(huma.Error503ServiceUnavailable(err.Error()), http.Header{"Retry-After": {"5"}})
	case errors.Is(err, os.ErrDeadlineExceeded):
		return huma.NewError(http.StatusRequestTimeout, "the body stalled")
	case errors.Is(err, swarmcache.ErrUnavailable), errors.Is(err, download.ErrTooMany):
		return huma.Error503ServiceUnavailable(err.Error())
	case errors.Is(err, swarmcache.ErrNotLeading):
		return huma.Error409Conflict(err.Error() + "; ask the one that does, which `shatabdi leader` names")
	case errors.Is(err, swarmcache.ErrTooManyJobs), errors.Is(err, download.ErrTooManyKept):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, swarmcache.ErrJobTooLong), errors.Is(err, download.ErrTooLong):
		return huma.NewError(http.StatusRequestEntityTooLarge, err.Error())
	case errors.Is(err, download.ErrNotFound):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, download.ErrOutside):
		return huma.Error403Forbidden(err.Error() + "; downloads.directories in the configuration names those that are")
	case errors.Is(err, swarmcache.ErrIncomplete):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, fs.ErrExist), errors.Is(err, download.ErrBusy), errors.Is(err, download.ErrState), errors.Is(err, swarmcache.ErrNotSealed):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return huma.Error403Forbidden("the daemon may not do that: " + err.Error())
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return huma.Error422UnprocessableEntity(err.Error())
	case errors.Is(err, swarmcache.ErrEmpty):
		return invalid("body", "is empty: there is nothing to share")
	case errors.Is(err, swarmcache.ErrOtherBytes):
		return invalid("body", err.Error())
	case errors.Is(err, swarmcache.ErrPrecondition):
		return huma.Error412PreconditionFailed(err.Error())
	case errors.Is(err, swarmcache.ErrNoSpace), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return huma.NewError(http.StatusInsufficientStorage, err.Error())
	}
	return huma.Error500InternalServerError(err.Error())
}

// WriteProblem answers with a problem document.
func WriteProblem(w http.ResponseWriter, status int, detail string) {
	h := w.Header()
	h.Del("Content-Length")
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(Problem{Title: http.StatusText(status), Status: status, Detail: detail})
}

// problems serves mux, and turns what mux itself refuses, an unknown path or
// method, into problem documents.
func problems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		v := verdict{header: w.Header()}
		refuse.ServeHTTP(&v, r)
		WriteProblem(w, v.status, r.Method+" "+r.URL.Path+" is not part of this API; see "+Prefix+"openapi.json")
	})
}

// verdict takes a handler's status and header and drops its body.
type verdict struct {
	header http.Header
	status int
}

func (v *verdict) Header() http.Header         { return v.header }
func (v *verdict) WriteHeader(status int)      { v.status = status }
func (v *verdict) Write(b []byte) (int, error) { return len(b), nil }

// sameSite refuses what a page of another site makes a browser send: also what
// only reads, for it may hold a stream open, or have an origin asked.
func sameSite(next http.Handler) http.Handler {
	deny := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		WriteProblem(w, http.StatusForbidden, "a page of another site may not do that")
	})
	p := http.NewCrossOriginProtection()
	p.SetDenyHandler(deny)
	unsafe := p.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ofAnotherSite(r) {
			deny(w, r)
			return
		}
		unsafe.ServeHTTP(w, r)
	})
}

func ofAnotherSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "":
		origin := r.Header.Get("Origin") // of a browser that is old
		u, err := url.Parse(origin)
		return origin != "" && (err != nil || u.Host != r.Host)
	}
	return true
}

// noStore keeps answers, which tell of URLs, out of every cache.
func noStore(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
