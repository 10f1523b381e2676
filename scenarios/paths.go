package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// resolve makes the files that a scenario names relative to dir, where the
// scenario's own file is: fields tagged `path:"file"`, and a model that is a
// file. Absolute paths stay.
func resolve(s *Scenario, dir string) {
	if strings.HasSuffix(s.Model, ".safetensors") {
		s.Model = within(dir, s.Model)
	}
	for i := range s.Testbed.Loads {
		if l := &s.Testbed.Loads[i]; strings.HasSuffix(l.Model, ".safetensors") {
			l.Model = within(dir, l.Model)
		}
	}
	eachFile(reflect.ValueOf(s).Elem(), "", func(_ string, v reflect.Value) { v.SetString(within(dir, v.String())) })
}

func within(dir, file string) string {
	if file == "" || filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}

// CheckFiles reports the first file that s names and that cannot be read, with
// its key.
func (s Scenario) CheckFiles() error {
	var err error
	eachFile(reflect.ValueOf(&s).Elem(), "", func(key string, v reflect.Value) {
		if err != nil || v.String() == "" {
			return
		}
		f, e := os.Open(v.String())
		if e != nil {
			err = fmt.Errorf("scenarios: %s: %w", key, e)
			return
		}
		f.Close()
	})
	return err
}

// eachFile calls do for every field below v that names a file; at is where v
// is, "" or a key that ends in a dot.
func eachFile(v reflect.Value, at string, do func(key string, v reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			eachFile(v.Elem(), at, do)
		}
	case reflect.Slice:
		for i := range v.Len() {
			eachFile(v.Index(i), fmt.Sprintf("%s[%d].", strings.TrimSuffix(at, "."), i), do)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
			switch {
			case !f.IsExported() && !f.Anonymous:
			case f.Tag.Get("path") == "file" && f.Type.Kind() == reflect.String:
				do(at+key, v.Field(i))
			case key == "" && f.Anonymous:
				eachFile(v.Field(i), at, do)
			default:
				eachFile(v.Field(i), at+key+".", do)
			}
		}
	}
}
