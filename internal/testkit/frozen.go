package testkit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
)

// Frozen compares got, what a computation gives, with the numbers that it gave when the
// file path was written: numbers within rel of their size (of 1 where they are smaller),
// all else exactly. Members of objects that the file does not have are not compared. write
// writes the file. The file says what the computation gave, not what is right: use it
// beside tests that compare with something else.
//
// Other processors than amd64 may fuse products and sums, and differ in a choice that is
// drawn: there the test is skipped.
func Frozen(t *testing.T, path string, got any, rel float64, write bool) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the frozen numbers are amd64's")
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	is := decode(t, text)
	if write {
		var b bytes.Buffer
		encode(&b, is, 0)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(b.Bytes(), '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if at := differ("", is, decode(t, text), rel); at != "" {
		t.Errorf("%s: %s; if that is meant, write the file anew and read its diff", path, at)
	}
}

func decode(t *testing.T, text []byte) any {
	t.Helper()
	var x any
	if err := json.Unmarshal(text, &x); err != nil {
		t.Fatal(err)
	}
	return x
}

// differ is where is and want first differ, and how; "" where they do not.
func differ(at string, is, want any, rel float64) string {
	switch want := want.(type) {
	case map[string]any:
		m, ok := is.(map[string]any)
		if !ok {
			break
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if d := differ(at+"."+name, m[name], want[name], rel); d != "" {
				return d
			}
		}
		return ""
	case []any:
		l, ok := is.([]any)
		if !ok || len(l) != len(want) {
			break
		}
		for i := range want {
			if d := differ(fmt.Sprintf("%s[%d]", at, i), l[i], want[i], rel); d != "" {
				return d
			}
		}
		return ""
	case float64:
		if x, ok := is.(float64); ok && math.Abs(x-want) <= rel*max(1, math.Abs(want)) {
			return ""
		}
	default:
		if is == want {
			return ""
		}
	}
	show := func(x any) string {
		text := fmt.Sprint(x)
		return text[:min(len(text), 200)]
	}
	return fmt.Sprintf("%s is %s, was %s", at, show(is), show(want))
}

// encode writes x as JSON with eight digits a number, a line for each member of the first
// two levels of objects.
func encode(b *bytes.Buffer, x any, depth int) {
	switch x := x.(type) {
	case map[string]any:
		end := ""
		if depth < 2 {
			end = "\n"
		}
		b.WriteString("{" + end)
		for i, name := range slices.Sorted(maps.Keys(x)) {
			if i > 0 {
				b.WriteString("," + end)
			}
			fmt.Fprintf(b, "%q: ", name)
			encode(b, x[name], depth+1)
		}
		b.WriteString(end + "}")
	case []any:
		b.WriteString("[")
		for i, v := range x {
			if i > 0 {
				b.WriteString(",")
			}
			encode(b, v, max(depth, 2))
		}
		b.WriteString("]")
	case float64:
		b.WriteString(strconv.FormatFloat(x, 'g', 8, 64))
	default:
		text, err := json.Marshal(x)
		if err != nil {
			panic(err) // it was read as JSON
		}
		b.Write(text)
	}
}
