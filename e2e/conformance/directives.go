package conformance

import (
	"fmt"
	"time"
)

// spellings are the fields that say how long, in all the forms that are seen: RFC 9111
// §4.2, §5.1 to §5.4, RFC 9213. Where a form breaks the grammar the safe reading is
// right: what cannot be read is stale (§4.2.1).
func spellings() (l []Scenario) {
	const old = "Cache-Control: max-age=0"
	for _, s := range []struct{ name, value string }{
		{"two max-age that differ, on two lines", "max-age=3600\nCache-Control: max-age=0"},
		{"two max-age that differ, on two lines, the smaller first", "max-age=0\nCache-Control: max-age=3600"},
		{"max-age inside of a quoted string, before the real one", `extension="max-age=3600", max-age=0`},
		{"max-age inside of a quoted string, after the real one", `max-age=0, extension="max-age=3600"`},
		{"max-age in a quoted string, and itself quoted", `extension="max-age=3600", max-age="0"`},
		{"max-age in single quotes", "max-age='3600'"},
		{"max-age that begins with a letter", "max-age=a3600"},
		{"no-cache in capitals", "max-age=3600, No-CaChE"},
		{"no-store beside Expires", "max-age=3600, no-store\nExpires: {now+3600}"},
		{"no-cache beside max-age and Expires", "max-age=3600, no-cache\nExpires: {now+3600}"},
		{"s-maxage=0 on a line of its own", "max-age=3600\nCache-Control: s-maxage=0"},
		{"no-store with an argument", "max-age=3600, no-store=x"},
		{"private with an empty list", `max-age=3600, private=""`},
	} {
		l = append(l, asked("9111 §5.2: "+s.name, "Cache-Control: "+s.value))
	}
	for _, value := range []string{"max-age =3600", "max-age= 3600", "max-age=3600.0", "max-age=3600.5"} {
		l = append(l, asked("9111 §5.2: "+value, "Cache-Control: "+value).may())
	}
	for _, seconds := range []string{"2147483648", "99999999999"} {
		l = append(l,
			fresh("9111 §1.2.2: max-age="+seconds, "Cache-Control: max-age="+seconds).may(),
			fresh("9213: max-age="+seconds, "CDN-Cache-Control: max-age="+seconds).may())
	}
	for _, age := range []string{"7200, 7200", "7200,0", "7200\nAge: 0", "7200\nAge: 7200"} {
		l = append(l, asked(fmt.Sprintf("9111 §5.1: Age: %q", age), hour+"\nAge: "+age))
	}
	for _, age := range []string{"0, 0", "0, 7200", "0\nAge: 7200", "0\nAge: 0", "7200.0"} {
		l = append(l, fresh(fmt.Sprintf("9111 §5.1: Age: %q", age), hour+"\nAge: "+age).may())
	}
	l = append(l,
		fresh("9111 §5.4: another Pragma in a response", hour+"\nPragma: unheard-of").may(),
		fresh("9111 §5.4: another Pragma of the request", hour).then("GET\nPragma: unheard-of").may(),
		asked("9111 §5.4: Pragma: no-cache of a server that says nothing else", "Last-Modified: {now-31536000}\nPragma: no-cache").may(),
		fresh("9111 §4.2.2: by Last-Modified, an attachment", "Last-Modified: {now-31536000}\nContent-Disposition: attachment; filename=x").may(),
		fresh("9111 §5.2.2.2: must-revalidate while it is fresh", "Cache-Control: max-age=3600, must-revalidate\nETag: \"1\"").may(),
		fresh("9111 §5.2.2.9: public", "Cache-Control: public, max-age=3600").may(),

		asked("9213: Age beyond CDN-Cache-Control", "CDN-Cache-Control: max-age=3600\nAge: 7200"),
		asked("9213: CDN-Cache-Control: max-age=0", "CDN-Cache-Control: max-age=0\n"+hour).may(),
		asked("9213: CDN-Cache-Control: max-age=0 before Expires", "CDN-Cache-Control: max-age=0\nExpires: {now+3600}").may(),
		asked("9213: CDN-Cache-Control: no-cache before max-age", "CDN-Cache-Control: no-cache\n"+hour+"\nExpires: {now+3600}").may(),
		fresh("9213: CDN-Cache-Control with an extension", "CDN-Cache-Control: foobar, max-age=3600").may(),
		fresh("9213: CDN-Cache-Control before a shorter max-age", "CDN-Cache-Control: max-age=3600\n"+old).may(),
		fresh("9213: CDN-Cache-Control before Expires in the past", "CDN-Cache-Control: max-age=3600\nExpires: {now-3600}").may(),
		asked("9213: one that is no dictionary does not count", "CDN-Cache-Control: max-age=3600, &&&\n"+old),
		asked("9213: a String where a number belongs does not count", "CDN-Cache-Control: max-age=\"3600\"\n"+old),
		asked("9213: a space before = does not count", "CDN-Cache-Control: max-age =3600\n"+old),
		asked("9213: capitals do not count", "CDN-Cache-Control: MaX-aGe=3600\n"+old),
	)
	for _, vary := range []string{"*, *", "*\nVary: *", ", *", "\nVary: *", "*, X-A"} {
		l = append(l, asked(fmt.Sprintf("9111 §4.1: Vary: %q", vary), hour+"\nVary: "+vary))
	}
	return append(l, Scenario{Name: "9111 §5.2.2.2: must-revalidate once it is stale", May: true, Steps: []Step{
		{Answer: "200\nCache-Control: max-age=1, must-revalidate\nETag: \"1\"", Want: Origin},
		{Wait: 2100 * time.Millisecond, Answer: "304\nETag: \"1\"", Want: Validated},
	}})
}

// moreStatuses: what is stale is stale whatever its status, and what is guessed is
// guessed of some only (RFC 9110 §15.1).
func moreStatuses() (l []Scenario) {
	location := func(status int) string {
		if status/100 == 3 {
			return "\nLocation: /elsewhere"
		}
		return ""
	}
	for _, status := range []int{203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599} {
		l = append(l, Scenario{Name: fmt.Sprintf("9111 §4.2: a stale %d", status), Small: true, Steps: []Step{
			{Answer: fmt.Sprintf("%d\n%s\nAge: 7200%s", status, hour, location(status)), Want: Origin},
			{Want: Origin},
		}})
	}
	for _, status := range []int{400, 502, 504} {
		l = append(l, Scenario{Name: fmt.Sprintf("9111 §3: %d with max-age", status), May: true, Small: true, Steps: []Step{
			{Answer: fmt.Sprintf("%d\n%s", status, hour), Want: Origin},
			{Want: Stored, Status: status},
		}})
	}
	const modified = "Last-Modified: {now-31536000}"
	for _, status := range []int{203, 204, 300, 308, 405, 414, 451, 501} {
		l = append(l, Scenario{Name: fmt.Sprintf("9111 §4.2.2: %d by Last-Modified", status), May: true, Small: true, Steps: []Step{
			{Answer: fmt.Sprintf("%d\n%s%s", status, modified, location(status)), Want: Origin},
			{Want: Stored, Status: status},
		}})
	}
	for _, status := range []int{201, 202, 599} {
		l = append(l, Scenario{Name: fmt.Sprintf("9111 §4.2.2: %d not by Last-Modified", status), Small: true, Steps: []Step{
			{Answer: fmt.Sprintf("%d\n%s", status, modified), Want: Origin},
			{Want: Origin},
		}})
	}
	return append(l, Scenario{Name: "9111 §4.2.2: 599 by Last-Modified where it says public", May: true, Small: true, Steps: []Step{
		{Answer: "599\n" + modified + "\nCache-Control: public", Want: Origin},
		{Want: Stored, Status: 599},
	}})
}
