package embedded

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// defragAbove is the size from which a database that is half empty is worth the
// pause of rewriting it: below, bbolt reuses its free pages soon enough.
const defragAbove = 64 << 20

type metrics struct {
	reg        prometheus.Registerer
	collectors []prometheus.Collector
	recoveries *prometheus.CounterVec
}

func newMetrics(s *Server, reg prometheus.Registerer) *metrics {
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "shatabdi", Subsystem: "embedded_etcd", Name: name, Help: help,
		}, f)
	}
	m := &metrics{reg: reg, recoveries: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "shatabdi", Subsystem: "embedded_etcd", Name: "recoveries_total",
		Help: "Attempts to make room in a full database, by result.",
	}, []string{"result"})}
	m.collectors = []prometheus.Collector{
		m.recoveries,
		gauge("db_bytes", "Size of the embedded etcd's database.", func() float64 { n, _ := s.DBSize(); return float64(n) }),
		gauge("db_in_use_bytes", "Part of the database that holds data.", func() float64 { _, n := s.DBSize(); return float64(n) }),
		gauge("quota_bytes", "Size at which the database takes no more writes.", func() float64 { return float64(s.cfg.Quota) }),
		gauge("no_space", "1 while the database refuses writes because its quota is used up.", func() float64 {
			if s.full() {
				return 1
			}
			return 0
		}),
		gauge("has_leader", "1 while the member knows a leader.", func() float64 {
			if s.etcd.Server.Leader() != 0 {
				return 1
			}
			return 0
		}),
	}
	if reg != nil {
		reg.MustRegister(m.collectors...)
	}
	return m
}

func (m *metrics) unregister() {
	if m.reg == nil {
		return
	}
	for _, c := range m.collectors {
		m.reg.Unregister(c)
	}
}

// lookAfter keeps the database small, and gets it going again when it is full.
func (s *Server) lookAfter() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	tick := time.NewTicker(s.cfg.Upkeep)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		size, inUse := s.DBSize()
		switch {
		case s.full():
			s.makeRoom(ctx)
		case size > defragAbove && inUse < size/2:
			if err := s.etcd.Server.Backend().Defrag(); err != nil {
				s.cfg.Logger.Warn("defragmentation of the embedded etcd failed", "err", err)
			}
		}
	}
}

// full reports whether any member has raised the alarm for its quota.
func (s *Server) full() bool {
	for _, a := range s.etcd.Server.Alarms() {
		if a.Alarm == pb.AlarmType_NOSPACE {
			return true
		}
	}
	return false
}

// makeRoom drops all history, gives its pages back, and takes this member's alarm
// away if that made room.
func (s *Server) makeRoom(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	srv := s.etcd.Server
	result := "failed"
	defer func() { s.m.recoveries.WithLabelValues(result).Inc() }()

	// An error may just mean that this revision is compacted already.
	srv.Compact(ctx, &pb.CompactionRequest{Revision: srv.KV().Rev(), Physical: true})
	if ctx.Err() != nil {
		return
	}
	if err := srv.Backend().Defrag(); err != nil {
		s.cfg.Logger.Error("the embedded etcd is full and cannot be defragmented", "err", err)
		return
	}
	size, _ := s.DBSize()
	if size > s.cfg.Quota*9/10 {
		s.cfg.Logger.Error("the embedded etcd is full", "bytes", size, "quota", s.cfg.Quota,
			"hint", "raise the quota, or purge objects")
		return
	}
	if _, err := srv.Alarm(ctx, &pb.AlarmRequest{
		Action: pb.AlarmRequest_DEACTIVATE, MemberID: uint64(srv.MemberID()), Alarm: pb.AlarmType_NOSPACE,
	}); err != nil {
		s.cfg.Logger.Error("the alarm of the embedded etcd stays", "err", err)
		return
	}
	result = "recovered"
	s.cfg.Logger.Warn("the embedded etcd was full and has room again", "bytes", size)
}
