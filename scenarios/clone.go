package scenarios

import (
	"fmt"
	"reflect"
)

// Clone is a copy that shares no memory with s: changing the one never changes
// the other.
func (s Scenario) Clone() Scenario {
	unshare(reflect.ValueOf(&s).Elem())
	return s
}

// unshare gives v, and all that v holds, memory of its own in place of memory
// that it shares with the value it is a copy of. Unexported fields hold plain
// values alone, which copying a struct has copied; a test says so. Functions,
// which no file can set, are shared.
func unshare(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			p := reflect.New(v.Type().Elem())
			p.Elem().Set(v.Elem())
			unshare(p.Elem())
			v.Set(p)
		}
	case reflect.Slice:
		if !v.IsNil() {
			c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(c, v)
			for i := range c.Len() {
				unshare(c.Index(i))
			}
			v.Set(c)
		}
	case reflect.Map:
		if !v.IsNil() {
			c := reflect.MakeMapWithSize(v.Type(), v.Len())
			for each := v.MapRange(); each.Next(); {
				e := reflect.New(v.Type().Elem()).Elem()
				e.Set(each.Value())
				unshare(e)
				c.SetMapIndex(each.Key(), e)
			}
			v.Set(c)
		}
	case reflect.Array:
		for i := range v.Len() {
			unshare(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				unshare(v.Field(i))
			}
		}
	case reflect.Interface, reflect.Chan, reflect.UnsafePointer:
		panic(fmt.Sprintf("scenarios: a Scenario holds a %v, which is not plain data", v.Type()))
	}
}
