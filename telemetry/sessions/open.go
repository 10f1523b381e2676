package sessions

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/planegym/planegym/telemetry"
)

// Open reads recordings wherever they are: sessions, by their .parquet file or by the
// folder that testbed record wrote; or a folder of recordings under one limit each, as
// telemetry.OpenFolder does.
func Open(path string) ([]telemetry.Recording, error) {
	if strings.HasSuffix(path, ".parquet") {
		return ReadFile(path)
	}
	table := filepath.Join(path, "recording.parquet")
	if _, err := os.Stat(table); err == nil {
		return ReadFile(table)
	}
	return telemetry.OpenFolder(path)
}
