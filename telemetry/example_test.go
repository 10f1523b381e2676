package telemetry_test

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/planegym/planegym/telemetry"
)

// Two probes in the first second, one in the third; a player's log beside it.
const (
	exampleINT = `timestamp,switchID_t1, enq_qdepth1, deq_timedelta1, deq_qdepth1
1694912784,1,0,128,0
1694912784,1,6,3301,11
1694912786,1,1,1260,0
`
	exampleDASH = `timestamp;Buffer;FPS;ReportedBitrate;Resolution;CalcBitrate
1694912784759;3.977;30;3312;1280x720;66
1694912785761;7.064;30;3312;1280x720;464
1694912786761;6.272;24;1867;854x480;1067
`
	exampleRows = `enq_qdepth1,deq_timedelta1,deq_qdepth1,Buffer,ReportedBitrate,FPS,CalcBitrate
0.0,2043.0,9.0,7.064,3312.0,30.0,464.0
0.0,128.0,0.0,9.999,3312.0,30.0,500.0
`
)

// exampleReader reads text as a file would be read.
func exampleReader(text string, f telemetry.Format) *telemetry.Reader {
	r, err := telemetry.NewReader(strings.NewReader(text), "example.csv", f)
	if err != nil {
		log.Fatal(err)
	}
	return r
}

// Raw logs are read, joined second by second and cut into windows.
func Example() {
	d, err := telemetry.Join(
		exampleReader(exampleINT, telemetry.INT),
		exampleReader(exampleDASH, telemetry.DASH),
		telemetry.MaxTimedelta1)
	if err != nil {
		log.Fatal(err)
	}
	const seconds = 2
	delay := d.Column("deq_timedelta1")
	f := len(d.Fields())
	values, valid := make([]float32, seconds*f), make([]bool, seconds*f)
	for _, start := range telemetry.Train.Windows(d.Len(), seconds) {
		d.Copy(start, values, valid)
		for t := range seconds {
			fmt.Printf("window %d, second %d: %v us, measured: %v\n", start, t, values[t*f+delay], valid[t*f+delay])
		}
	}
	// Output:
	// window 0, second 0: 3301 us, measured: true
	// window 0, second 1: 3301 us, measured: false
	// window 1, second 0: 3301 us, measured: false
	// window 1, second 1: 1260 us, measured: true
}

// Published rows have no timestamps: they are placed on the player's clock.
func ExampleImport() {
	d, report, err := telemetry.Import(
		exampleReader(exampleDASH, telemetry.DASH), 32,
		exampleReader(exampleRows, telemetry.Merged))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Placed, "of", report.Rows, "rows placed")
	for _, u := range report.Unplaced {
		fmt.Println(u)
	}
	if err := d.EncodeCSV(os.Stdout); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 1 of 2 rows placed
	// example.csv:3: no player record has lbo_s 9.999, fps 30, rep_kbps 3312, calc_cum 500
	// t,ts_ms,queue,enq_qdepth1,deq_timedelta1,deq_qdepth1,lbo_s,fps,rep_kbps,calc_cum,calc_rate,width,height,int_present
	// 0,1694912784759,32,,,,3.977,30,3312,66,,1280,720,0
	// 1,1694912785761,32,0,2043,9,7.064,30,3312,464,398,1280,720,1
	// 2,1694912786761,32,,,,6.272,24,1867,1067,603,854,480,0
}

func ExampleFitScaler() {
	d, err := telemetry.Join(nil, exampleReader(exampleDASH, telemetry.DASH), telemetry.Max)
	if err != nil {
		log.Fatal(err)
	}
	s, err := telemetry.FitScaler(telemetry.Train, map[string][]string{"calc_rate": {"log1p", "minmax"}}, d)
	if err != nil {
		log.Fatal(err)
	}
	kbps := d.Column("rep_kbps")
	fmt.Println(s.Scale(kbps, 1867), s.Scale(kbps, 3312), s.Inverse(kbps, .5))
	// Output: 0 1 2589.5
}

func ExampleValueError() {
	_, err := telemetry.NewReader(strings.NewReader("timestamp;FPS\n"), "dash.csv", telemetry.DASH)
	fmt.Println(err)
	// Output: dash.csv:1: Buffer: "timestamp;FPS": want this column in the header of DASH files
}
