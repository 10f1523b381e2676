package models_test

import (
	"context"
	"fmt"

	"github.com/planegym/planegym/traffic/models"
)

// Draw a pool of sessions of one label, as the testbed does for its load.
func ExamplePool() {
	m, err := models.Open(models.Bundled) // or a .safetensors file
	if err != nil {
		panic(err)
	}
	label := m.Schema().Labels[0]
	set, err := models.Pool(context.Background(), m, []string{label}, 5, 0)
	if err != nil {
		panic(err)
	}
	fmt.Println("sessions:", set.Len())
	fmt.Println("label as asked for:", set.Of.LabelName(set.Sessions[0].Label) == label)
	// Output:
	// sessions: 5
	// label as asked for: true
}
