package intreport_test

import (
	"encoding/hex"
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/planegym/planegym/telemetry/intreport"
)

// fuzz decodes: an error is typed and lies within the bytes; what is decoded
// and can be written is read again as the same.
func fuzz(f *testing.F, frame bool) {
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		b := readHex(f, file)
		if frame {
			b = probeFrame(b)
		}
		for _, dscp := range []uint8{0, 0x17} {
			f.Add(b, dscp, uint16(5016), uint64(0), true)
			f.Add(b[:len(b)/2], dscp, uint16(0), uint64(1), false)
		}
	}
	// Stamps that run backwards, a stack that is cut, another protocol's query.
	for _, text := range []string{
		"2000000000000009042200204500008800010000401100000a0000010a0000029c401389007400001018123420000700dc00000000000000000000030001000200000007000000003b9acde8000000003b9aba60000000020001000200000007000000003b9acde8000000003b9aba60000000010001000200000007000000003b9acde8000000003b9aba60",
		"2000000100000009041400204500008800010000401100000a0000010a0000029c401389007400001018123420000700dc0000000000000000000003000100020000000700000000000003e800000000000005dc0000000200010002",
		"2000000000000001100806205c000000000000000001000200000001000000e8d4a51000000000e8d4a5d350",
		"013701000001000000000000076578616d706c65036f72670000010001",
	} {
		b, err := hex.DecodeString(text)
		if err != nil {
			f.Fatal(err)
		}
		if frame {
			b = udpFrame(53, b)
		}
		f.Add(b, uint8(0), uint16(0), uint64(0), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, dscp uint8, port uint16, marker uint64, micro bool) {
		cfg := intreport.Config{DSCP: dscp & 63, INTPort: port, Marker: marker}
		if micro {
			cfg.Tick = time.Microsecond
		}
		d := decoder(t, cfg)
		decode := d.Report
		if frame {
			decode = d.Frame
		}
		got, err := all(d, decode, b)
		var typed *intreport.Error
		if err != nil && !(frame && errors.Is(err, intreport.ErrForeign)) &&
			(!errors.As(err, &typed) || typed.Offset < 0 || typed.Offset > len(b) || typed.Field == "" || typed.Want == "") {
			t.Fatalf("%v", err)
		}
		again := decoder(t, cfg)
		for _, r := range got {
			r.Quirks, r.Part = 0, 0
			wire, err := intreport.Append(nil, cfg, &r)
			if err != nil {
				continue // decoded is more than is written: wide times in v1.0, say
			}
			decode := again.Report
			if r.Format == intreport.Probe {
				wire, decode = probeFrame(wire), again.Frame
			}
			back, err := all(again, decode, wire)
			if err != nil || len(back) != 1 {
				t.Fatalf("%+v\nis read as %+v, %v", r, back, err)
			}
			normal(&back[0])
			normal(&r)
			if !reflect.DeepEqual(back[0], r) {
				t.Fatalf("%+v\nis read as %+v", r, back[0])
			}
		}
	})
}

// normal drops what need not come back: flags of a stack that is not written,
// and the wrap of a stack of the other version than its report's.
func normal(r *intreport.Report) {
	r.HopsExceeded, r.MTUExceeded, r.Cut = false, false, false
	for i := range r.Hops {
		r.Hops[i].Wrap = 0
	}
	if len(r.Hops) == 0 {
		r.Hops = nil
	}
}

func FuzzReport(f *testing.F) { fuzz(f, false) }
func FuzzFrame(f *testing.F)  { fuzz(f, true) }
