package safetensors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
)

// OpenModel is the model that read makes of a file, which it may keep: it is in
// memory. Errors of the file begin with who, those of read with the path.
func OpenModel[M any](who, path string, read func(*File) (M, error)) (m M, err error) {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() { // reading a pipe would wait for its writer
		return m, fmt.Errorf("%s: %s: not a regular file", who, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return m, fmt.Errorf("%s: %w", who, err)
	}
	if m, err = ParseModel(who, b, read); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// ParseModel is OpenModel of what a file holds.
func ParseModel[M any](who string, b []byte, read func(*File) (M, error)) (m M, err error) {
	f, err := New(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return m, fmt.Errorf("%s: %w", who, err)
	}
	return read(f)
}

// ModelMetadata is about with the format of a model, and its settings as JSON under
// key: the metadata of its file.
func ModelMetadata(about map[string]string, format, key string, settings any) (map[string]string, error) {
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	meta := map[string]string{}
	maps.Copy(meta, about)
	meta["format"], meta[key] = format, string(text)
	return meta, nil
}
