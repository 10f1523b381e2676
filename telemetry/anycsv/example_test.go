package anycsv_test

import (
	"fmt"
	"strings"

	"github.com/planegym/planegym/telemetry/anycsv"
)

// Half-hourly readings, one row of which is missing.
func ExampleRead() {
	f, err := anycsv.Read(strings.NewReader("time;kW;state\n"+
		"2024-05-01 10:00;1,5;on\n2024-05-01 10:30;1,25;on\n2024-05-01 11:00;;off\n2024-05-01 12:00;2;on\n2024-05-01 12:30;2,5;on\n2024-05-01 13:00;3;on\n"), anycsv.Options{})
	if err != nil {
		panic(err)
	}
	fmt.Print(f)
	fmt.Println(f.Recording.Data.Len(), "rows")
	// Output:
	// 6 rows, cells between semicolons
	//   time: time, every 30m0s from 2024-05-01 10:00:00; 1 rows missing
	//   kW: real numbers, 1.25 to 3, 1 of 6 missing
	//   left out: state, words: line 2 holds "on"
	// 7 rows
}
