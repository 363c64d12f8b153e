package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxBody bounds what a tracker may answer, in bytes: 29,000 IPv6 peers.
const maxBody = 512 << 10

// Announce announces r at announceURL and returns the answer; a refusal is a
// *Failure. Redirects are followed as client does it. ctx bounds the time. No
// error shows the query, which may hold a proof.
func Announce(ctx context.Context, client *http.Client, announceURL string, r Request) (Response, error) {
	return announce(ctx, client, announceURL, r, nil)
}

// AnnounceAll announces a seeder of many swarms at once: of r's, for which the
// answer is, and of up to MaxOthers others. Only our own tracker understands it,
// and only from a member.
func AnnounceAll(ctx context.Context, client *http.Client, announceURL string, r Request, others []InfoHash) (Response, error) {
	return announce(ctx, client, announceURL, r, AppendOthers(make([]byte, 0, len(InfoHash{})*len(others)), others...))
}

func announce(ctx context.Context, client *http.Client, announceURL string, r Request, others []byte) (Response, error) {
	body, err := ask(ctx, client, announceURL, r.AppendQuery(nil), others)
	if err != nil {
		return Response{}, fmt.Errorf("announce: %w", err)
	}
	resp, err := ParseResponse(body)
	if err != nil {
		return Response{}, fmt.Errorf("announce: %w", err)
	}
	return resp, nil
}

// Scrape asks the tracker of announceURL about swarms; it leaves out those that
// it does not know. The errors are as Announce's.
func Scrape(ctx context.Context, client *http.Client, announceURL string, hashes ...InfoHash) ([]Swarm, error) {
	scrapeURL, err := ScrapeURL(announceURL)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	body, err := ask(ctx, client, scrapeURL, AppendScrapeQuery(nil, hashes...), nil)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	swarms, err := ParseSwarms(body)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	return swarms, nil
}

// ScrapeURL returns where the tracker of an announce URL answers scrapes: its
// last path segment begins with "announce" or there is no such place (BEP 48).
func ScrapeURL(announceURL string) (string, error) {
	u, err := url.Parse(announceURL)
	if err != nil {
		return "", errors.New("malformed announce URL")
	}
	i := strings.LastIndexByte(u.Path, '/') + 1
	rest, ok := strings.CutPrefix(u.Path[i:], "announce")
	if !ok {
		return "", errors.New("the tracker has no scrape")
	}
	u.Path, u.RawPath = u.Path[:i]+"scrape"+rest, ""
	return u.String(), nil
}

// AddQuery returns target with query after whatever query it has.
func AddQuery(target, query string) (string, error) {
	u, err := url.Parse(target)
	if err != nil {
		return "", errors.New("malformed URL")
	}
	if u.RawQuery != "" && query != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += query
	return u.String(), nil
}

// ask sends a GET or, with more to say than the query, a POST.
func ask(ctx context.Context, client *http.Client, target string, query, more []byte) ([]byte, error) {
	target, err := AddQuery(target, string(query))
	if err != nil {
		return nil, err
	}
	method, content := http.MethodGet, io.Reader(nil)
	if more != nil {
		method, content = http.MethodPost, bytes.NewReader(more)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return nil, withoutURL(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxBody:
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxBody)
	case resp.StatusCode != http.StatusOK && !isRefusal(body):
		return nil, fmt.Errorf("HTTP status %d", resp.StatusCode)
	}
	return body, nil
}

// isRefusal: some trackers refuse with a status as well.
func isRefusal(body []byte) bool {
	var f *Failure
	_, err := ParseResponse(body)
	return errors.As(err, &f)
}

// withoutURL keeps the query, and with it the proof, out of errors.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
