package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Limiter bounds the bytes that this node exchanges with peers, a second; 0: no
// limit. SetLimits holds at once, also for running transfers.
type Limiter interface {
	Limits() (upload, download int64)
	SetLimits(upload, download int64)
}

// Rates is how the configuration writes a rate, such as 4MiB/s.
type Rates interface {
	Parse(text string) (bytesPerSecond int64, err error)
	Format(bytesPerSecond int64) string
}

// Limits are the limits on what this node exchanges with peers.
type Limits struct {
	Upload             string `json:"upload" doc:"In the configuration's notation."`
	UploadRate         int64  `json:"upload_bytes_per_second" minimum:"0" doc:"0: no limit."`
	UploadConfigured   string `json:"upload_configured" doc:"What holds again after a restart."`
	Download           string `json:"download"`
	DownloadRate       int64  `json:"download_bytes_per_second" minimum:"0"`
	DownloadConfigured string `json:"download_configured"`
}

// LimitsChange is what of Limits can be changed. What is left out stays.
type LimitsChange struct {
	Upload       *string `json:"upload,omitempty" doc:"Such as 4MiB/s, 1Gbit/s, 0 or none."`
	UploadRate   *int64  `json:"upload_bytes_per_second,omitempty" minimum:"0" doc:"Instead of upload; 0: no limit."`
	Download     *string `json:"download,omitempty"`
	DownloadRate *int64  `json:"download_bytes_per_second,omitempty" minimum:"0"`
}

func (s *service) registerLimits(api huma.API) {
	type output struct{ Body Limits }
	get := operation("get-limits", http.MethodGet, "limits", "The limits on what this node exchanges with peers")
	huma.Register(api, get, func(context.Context, *struct{}) (*output, error) {
		return &output{s.limits()}, nil
	})

	patch := operation("set-limits", http.MethodPatch, "limits", "Change the limits of this node")
	patch.Description = "Running transfers keep to them at once. They are forgotten when the daemon stops: what is to stay belongs into its configuration."
	huma.Register(api, patch, func(_ context.Context, in *struct{ Body LimitsChange }) (*output, error) {
		s.changing.Lock()
		defer s.changing.Unlock()
		up, down := s.Limiter.Limits()
		var wrong []error
		change := func(field string, limit *int64, text *string, rate *int64) {
			switch {
			case text != nil && rate != nil:
				wrong = append(wrong, &huma.ErrorDetail{Location: "body." + field, Message: "give a rate or a number of bytes a second, not both", Value: *text})
			case rate != nil:
				*limit = *rate
			case text != nil:
				n, err := s.Rates.Parse(*text)
				if err != nil {
					wrong = append(wrong, &huma.ErrorDetail{Location: "body." + field, Message: err.Error(), Value: *text})
				}
				*limit = n
			}
		}
		change("upload", &up, in.Body.Upload, in.Body.UploadRate)
		change("download", &down, in.Body.Download, in.Body.DownloadRate)
		if len(wrong) > 0 {
			return nil, huma.Error422UnprocessableEntity("nothing was changed", wrong...)
		}
		s.Limiter.SetLimits(up, down)
		return &output{s.limits()}, nil
	})
}

func (s *service) limits() Limits {
	up, down := s.Limiter.Limits()
	configuredUp, configuredDown := s.Limits()
	return Limits{
		s.Rates.Format(up), up, s.Rates.Format(configuredUp),
		s.Rates.Format(down), down, s.Rates.Format(configuredDown),
	}
}
