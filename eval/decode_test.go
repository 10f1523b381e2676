package eval_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/planegym/planegym/eval"
)

const decoded = `{"format":"planegym.compare.v1","columns":[{"name":"fps"}],"policies":[
	{"policy":"x","a":{"lbo_s":{},"level":{},"stall_s":{}},"b":{"lbo_s":{},"level":{},"stall_s":{}},"drift":[{"w1":null,"ks":0.5}]}]}`

func TestDecodeErrors(t *testing.T) {
	if _, err := eval.Decode([]byte(decoded)); err != nil {
		t.Error(err)
	}
	for want, text := range map[string]string{
		"what compare --json writes":     `[]`,
		`format ""`:                      `{}`,
		"policies: there are none":       `{"format":"planegym.compare.v1"}`,
		"x: drift of 1 columns":          strings.Replace(decoded, `{"name":"fps"}`, ``, 1),
		"y: expected lbo_s, level":       strings.Replace(decoded, `]}]}`, `]},{"policy":"y","drift":[{}]}]}`, 1),
		"x: expected lbo_s, level":       strings.Replace(decoded, `"level":{},`, ``, 1),
		"x: reward: there is no mean":    strings.Replace(decoded, `"a":{`, `"a":{"reward":{"mean":null},`, 1),
		"recordings: z: there is no":     strings.Replace(decoded, `"policies"`, `"recordings":{"policies":[{"policy":"z","dr":{"mean":null}}]},"policies"`, 1),
		"cannot unmarshal string into G": strings.Replace(decoded, `0.5`, `"much"`, 1),
	} {
		if _, err := eval.Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}

// What is taken can be written, and read again as the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(decoded))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := eval.Decode(text)
		if err != nil {
			return
		}
		once, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := eval.Decode(once)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := json.Marshal(again); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s\n%s, %v", once, twice, err)
		}
	})
}
