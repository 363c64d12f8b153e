package api_test

import (
	"reflect"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/api"
)

func TestMagnets(t *testing.T) {
	n := newNode(t, 3)
	var all api.Magnets
	n.ask("GET", "/api/v1/magnets", "", 200, &all)
	if all.Known || len(all.Ill) > 0 {
		t.Errorf("%+v", all)
	}
	ill := swarmcache.Ill{Key: "http://origin.test/2", URL: "http://origin.test/2?token=hunter2", State: "degraded", Replicas: 1, Wanted: 2, Why: "1 of 2 copies", Since: added}
	n.cluster.health = &swarmcache.Health{Healthy: 4, Degraded: 1, Ill: []swarmcache.Ill{ill}}
	shown := api.MagnetState{URL: "http://origin.test/2", State: "degraded", Replicas: 1, Wanted: 2, Why: "1 of 2 copies", Since: added}
	n.ask("GET", "/api/v1/magnets", "", 200, &all)
	if want := (api.Magnets{Known: true, Healthy: 4, Degraded: 1, Ill: []api.MagnetState{shown}}); !reflect.DeepEqual(all, want) {
		t.Errorf("%+v, want %+v", all, want)
	}
	one := func(i int, want api.MagnetState) {
		t.Helper()
		var m api.MagnetState
		n.ask("GET", "/api/v1/objects/"+string(id(i))+"/magnet", "", 200, &m)
		if m != want {
			t.Errorf("%+v, want %+v", m, want)
		}
	}
	one(0, api.MagnetState{URL: "http://origin.test/0", State: "unkept", Replicas: 3})
	n.cluster.kept = map[policy.Key]swarmcache.Kept{"http://origin.test/0": {Replicas: 2}, "http://origin.test/2": {Replicas: 2}}
	one(0, api.MagnetState{URL: "http://origin.test/0", State: "healthy", Replicas: 3, Wanted: 2})
	one(2, shown)
	n.ask("GET", "/api/v1/objects/"+string(id(9))+"/magnet", "", 404, nil)
	n.cluster.away = errRefused
	n.ask("GET", "/api/v1/magnets", "", 503, nil)
	n.ask("GET", "/api/v1/objects/"+string(id(0))+"/magnet", "", 503, nil)
}

func TestDrain(t *testing.T) {
	n := newNode(t, 0)
	var d api.Drained
	if n.ask("POST", "/api/v1/drain", "", 200, &d); !d.Draining || !n.cluster.drain {
		t.Errorf("%+v", d)
	}
	if n.ask("DELETE", "/api/v1/drain", "", 200, &d); d.Draining || n.cluster.drain {
		t.Errorf("%+v", d)
	}
}
