package deploy_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/planegym/planegym/deploy"
)

// Read the journal of a deployment that lost power in the middle of a line: the
// whole entries are returned beside the error.
func ExampleReadJournal() {
	journal := strings.NewReader(`{"time":"2025-01-01T00:00:00Z","by":"agent","event":"ask","why":"policy","step":1,"asked":[32]}
{"time":"2025-01-01T00:00:00Z","by":"agent","event":"set","step":1,"got":[{"switch":"s1","port":2,"limit":32}],"took_ms":1.5}
{"time":"2025-01-01T00:00:04Z","by":"agent","ev`)
	entries, err := deploy.ReadJournal(journal)
	for _, e := range entries {
		fmt.Println(e.By, e.Event, e.Asked, e.Got)
	}
	fmt.Println("cut off:", errors.Is(err, deploy.ErrCut))
	// Output:
	// agent ask [32] []
	// agent set [] [{s1 2 32 }]
	// cut off: true
}
