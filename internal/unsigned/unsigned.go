// Package unsigned finds negative numbers that TOML gives to settings without a sign. The
// decoder takes them into 64 bits as they are, so that a seed of -1 is 18446744073709551615.
package unsigned

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"
)

// TOML reports the first negative number of a text for an unsigned field of into, a
// struct or a pointer to one, by its key.
func TOML(text string, into any) error {
	var values map[string]any
	if _, err := toml.Decode(text, &values); err != nil {
		return err
	}
	return walk(reflect.TypeOf(into), values, "")
}

func walk(t reflect.Type, value any, key string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n, ok := value.(int64); ok && n < 0 {
			return fmt.Errorf("%s: %d is negative", key, n)
		}
	case reflect.Slice, reflect.Array:
		of := reflect.ValueOf(value)
		if of.Kind() != reflect.Slice {
			return nil
		}
		for i := range of.Len() {
			if err := walk(t.Elem(), of.Index(i).Interface(), fmt.Sprintf("%s[%d]", key, i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		values, _ := value.(map[string]any)
		for name, v := range values {
			if err := walk(t.Elem(), v, join(key, name)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		values, _ := value.(map[string]any)
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
			if f.Anonymous && name == "" {
				if err := walk(f.Type, value, key); err != nil {
					return err
				}
				continue
			}
			if name == "" {
				name = f.Name
			}
			for k, v := range values {
				if strings.EqualFold(k, name) {
					if err := walk(f.Type, v, join(key, k)); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}
