package onnx_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/planegym/planegym/agent"
	"github.com/planegym/planegym/agent/onnx"
	"github.com/planegym/planegym/compute"
	"github.com/planegym/planegym/scenarios"
)

// Export the bundled agent, so that any ONNX runtime can act with it.
func ExampleExport() {
	be := compute.NewBackend(compute.Go, 1)
	defer be.Close()
	d, err := agent.LoadBytes("bundled agent", scenarios.Agent(), be)
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "onnx")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "agent.onnx")
	if err := onnx.Export(d, path); err != nil {
		log.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(filepath.Base(path), "has more than 1 kB:", info.Size() > 1000)
	// Output: agent.onnx has more than 1 kB: true
}
