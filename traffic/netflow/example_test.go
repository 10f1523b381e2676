package netflow_test

import (
	"fmt"
	"strings"

	"github.com/planegym/planegym/traffic/netflow"
)

// Read flow records with NetShare's columns. Records of one five-tuple are the
// steps of one session.
func Example() {
	csv := `srcip,dstip,srcport,dstport,proto,ts,td,pkt,byt,type
10.0.0.1,10.0.0.2,40000,80,TCP,1000000,0.5,10,9000,background
10.0.0.1,10.0.0.2,40000,80,TCP,3000000,0.25,4,400,background
10.0.0.3,10.0.0.2,50000,53,UDP,1500000,0,1,60,background
`
	records, err := netflow.ReadCSV(strings.NewReader(csv), "flows.csv", netflow.Options{})
	if err != nil {
		panic(err)
	}
	set := netflow.Sessions(records)
	for i := range set.Sessions {
		s := &set.Sessions[i]
		fmt.Printf("session %d starts at %.1f s, records: %d\n", i, s.Start, set.Of.Len(s))
	}
	// Output:
	// session 0 starts at 0.0 s, records: 2
	// session 1 starts at 0.5 s, records: 1
}
