package parquetfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/planegym/planegym/internal/parquetfile"
)

func TestOpen(t *testing.T) {
	var b bytes.Buffer
	if err := parquet.Write(&b, []struct{ A int32 }{{1}, {2}}); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	f, err := parquetfile.Open(bytes.NewReader(whole), int64(len(whole)))
	if err != nil || f.NumRows() != 2 {
		t.Fatal(f, err)
	}
	huge := bytes.Clone(whole) // a footer of 4 GB
	binary.LittleEndian.PutUint32(huge[len(huge)-8:], 1<<32-1)
	for want, x := range map[string][]byte{
		"4 bytes":                 whole[:4],
		"the end of one":          whole[:len(whole)-1],
		"or the end of one is mi": huge,
	} {
		if _, err := parquetfile.Open(bytes.NewReader(x), int64(len(x))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}

func TestRead(t *testing.T) {
	wrong := errors.New("wrong")
	steps := func(ks ...int) func([]int) (int, error) {
		i := 0
		return func([]int) (int, error) {
			if i++; i > len(ks) {
				return 0, io.EOF
			}
			return ks[i-1], nil
		}
	}
	n := 0
	count := func(*int) error { n++; return nil }
	if err := parquetfile.Read(steps(256, 3), count); err != nil || n != 259 {
		t.Error(n, err)
	}
	if err := parquetfile.Read(steps(5, 0), count); !errors.Is(err, io.ErrNoProgress) || !strings.HasPrefix(err.Error(), "row 6: ") {
		t.Error(err)
	}
	n = 0
	if err := parquetfile.Read(steps(9), func(*int) error {
		if n++; n == 3 {
			return wrong
		}
		return nil
	}); !errors.Is(err, wrong) || !strings.HasPrefix(err.Error(), "row 3: ") {
		t.Error(err)
	}
}
