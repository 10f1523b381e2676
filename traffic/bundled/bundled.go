// Package bundled embeds the traffic models that come with planegym, both of the
// flows of NEMEA-SIoT and of seven captures that may be redistributed: an
// autoregressive one, and the n-gram that it is compared with. NOTICE beside
// this file credits the data. The learned model holds sizes that at least
// three packets have, the n-gram all sizes of these published data; both hold flags
// and gaps, no address and no payload. Sessions of the learned model, drawn once,
// come as a pool, which is the same on every machine and needs no network to read.
package bundled

import (
	_ "embed"
	"sync"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/autoregressive"
	"github.com/planegym/planegym/traffic/ngram"
	"github.com/planegym/planegym/traffic/store"
)

//go:generate ./generate.sh

//go:embed traffic.safetensors
var learned []byte

//go:embed ngram.safetensors
var counts []byte

//go:embed pool.parquet
var drawn []byte

// Notice credits the data and gives their licences.
//
//go:embed NOTICE
var Notice string

var (
	model = sync.OnceValues(func() (*autoregressive.Model, error) { return autoregressive.Parse(learned) })
	pool  = sync.OnceValues(func() (*traffic.Set, error) { return store.Read(drawn) })
	floor = sync.OnceValues(func() (*ngram.Model, error) { return ngram.Parse(counts) })
)

// Open is the bundled model.
func Open() (traffic.Model, error) {
	m, err := model()
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Pool is sessions of the bundled model: 384 of label port443, 64 of every other, of
// at most 4,000 steps, their gaps rounded to 16 values a decade. A caller does not
// write to it.
func Pool() (*traffic.Set, error) { return pool() }

// OpenCounts is the n-gram of the same sessions. It samples the same bytes on
// every machine; the learned model's depend on the kernels of a processor.
func OpenCounts() (traffic.Model, error) {
	m, err := floor()
	if err != nil {
		return nil, err
	}
	return m, nil
}
