package store

import (
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/planegym/planegym/traffic"
)

// MIRAGE's Parquet (MIRAGE-AppxAct, the first ten packets with payload of a
// flow): PL payload bytes, 0 where the flow has ended; IAT µs, which the
// publisher cut at 0.1 s; DIR 0 upstream, 1 downstream; LABEL the application.
var mirageColumns = []string{"PL", "IAT", "DIR", "LABEL"}

// MIRAGESchema is the schema of MIRAGE's flows, labels sorted.
func MIRAGESchema(labels []string) traffic.Schema {
	return traffic.Schema{
		Labels: labels,
		Steps: []traffic.Field{
			{Name: "direction", Kind: traffic.Symbol, Levels: []string{"up", "down"}},
			{Name: "size", Unit: "B", Kind: traffic.Size},
			{Name: "gap", Unit: "s", Kind: traffic.Gap},
		},
	}
}

func isMIRAGE(f *parquet.File) bool {
	for _, name := range mirageColumns {
		if !slices.ContainsFunc(f.Schema().Columns(), func(p []string) bool { return p[0] == name }) {
			return false
		}
	}
	return true
}

func readMIRAGE(f *parquet.File) (*traffic.Set, error) {
	which, null := map[int]int{}, map[int]int{}
	for i, path := range f.Schema().Columns() {
		leaf, _ := f.Schema().Lookup(path...)
		which[i], null[i] = slices.Index(mirageColumns, path[0]), nullElement(leaf)
	}
	set := &traffic.Set{}
	var names []string
	err := eachRow(f, func(row parquet.Row) error {
		var lists [3][]float64
		label := ""
		for _, v := range row {
			k := which[v.Column()]
			switch {
			case k >= 0 && k < 3 && v.IsNull() && v.DefinitionLevel() == null[v.Column()]:
				return fmt.Errorf("%s: packet %d has no value", mirageColumns[k], len(lists[k]))
			case k < 0 || v.IsNull():
			case k == 3:
				label = string(v.ByteArray())
			case v.Kind() == parquet.Double:
				lists[k] = append(lists[k], v.Double())
			case v.Kind() == parquet.Int64:
				lists[k] = append(lists[k], float64(v.Int64()))
			default:
				return fmt.Errorf("%s: values of %v", mirageColumns[k], v.Kind())
			}
		}
		pl, iat, dir := lists[0], lists[1], lists[2]
		if len(pl) != len(iat) || len(pl) != len(dir) {
			return fmt.Errorf("%d values of PL, %d of IAT, %d of DIR", len(pl), len(iat), len(dir))
		}
		s := traffic.Session{Label: -1}
		for i := range pl {
			if pl[i] == 0 {
				break
			}
			s.Steps = append(s.Steps, dir[i], pl[i], iat[i]/1e6)
		}
		if label != "" {
			if s.Label = slices.Index(names, label); s.Label < 0 {
				s.Label = len(names)
				names = append(names, label)
			}
		}
		set.Sessions = append(set.Sessions, s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	for i := range set.Sessions {
		if s := &set.Sessions[i]; s.Label >= 0 {
			s.Label = slices.Index(sorted, names[s.Label])
		}
	}
	set.Of = MIRAGESchema(sorted)
	return set, set.Valid()
}
