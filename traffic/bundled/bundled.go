// Package bundled embeds the traffic model that comes with planegym: an n-gram
// model of the flows of NEMEA-SIoT and of seven captures that may be redistributed.
// NOTICE beside this file credits them. It holds counts of sizes, flags and
// gaps, no address and no payload.
package bundled

import (
	_ "embed"
	"sync"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/ngram"
)

//go:embed traffic.safetensors
var file []byte

// Notice credits the data and gives their licences.
//
//go:embed NOTICE
var Notice string

var model = sync.OnceValues(func() (*ngram.Model, error) { return ngram.Parse(file) })

// Open is the bundled model.
func Open() (traffic.Model, error) {
	m, err := model()
	if err != nil {
		return nil, err
	}
	return m, nil
}
