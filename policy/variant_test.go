package policy

import (
	"net/http"
	"testing"
)

func TestVariantOf(t *testing.T) {
	const key = Key("http://o.test/x?a")
	var c Caching
	of := func(language, vary string) (Key, bool) {
		return c.VariantOf(key, http.Header{"Accept-Language": {language}, "Cookie": {"id=me"}}, []string{vary})
	}
	de, ok := of("de", "Accept-Language")
	if again, _ := of(" DE", "accept-language"); !ok || again != de || de == key || de.Base() != key || key.Base() != key {
		t.Errorf("%q and %q of %q", de, again, key)
	}
	if fr, _ := of("fr", "Accept-Language"); fr == de {
		t.Errorf("one key for two languages: %q", fr)
	}
	for _, vary := range []string{"", "*", "Cookie"} {
		if k, ok := of("de", vary); ok {
			t.Errorf("Vary: %s: %q", vary, k)
		}
	}
}
