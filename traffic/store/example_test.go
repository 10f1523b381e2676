package store_test

import (
	"bytes"
	"fmt"
	"os"

	"github.com/planegym/planegym/traffic"
	"github.com/planegym/planegym/traffic/store"
)

// Write sessions as Parquet, read them back, and print them as CSV.
func Example() {
	set := &traffic.Set{
		Of: traffic.Schema{
			Labels: []string{"web"},
			Meta:   []traffic.Field{{Name: "port", Kind: traffic.Port}},
			Steps:  []traffic.Field{{Name: "size", Unit: "B", Kind: traffic.Size}},
		},
		Sessions: []traffic.Session{{Label: 0, Start: 1.5, Meta: []float64{80}, Steps: []float64{300, 1200}}},
	}
	var file bytes.Buffer
	if _, err := store.Write(&file, set.Schema(), store.All(set)); err != nil {
		panic(err)
	}
	again, err := store.Read(file.Bytes())
	if err != nil {
		panic(err)
	}
	n, err := store.WriteCSV(os.Stdout, again.Schema(), store.All(again))
	fmt.Println("sessions:", n, err)
	// Output:
	// session,label,start,port,step,size
	// 0,web,1.5,80,0,300
	// 0,web,1.5,80,1,1200
	// sessions: 1 <nil>
}
