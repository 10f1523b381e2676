package timegan_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/planegym/planegym/timegan"
)

func preset(t *testing.T, name string) timegan.Config {
	t.Helper()
	c, err := timegan.Preset(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The paper's ablations (section 5, table 3: without a part of the objective)
// are settings of 0. Over a preset they are 0 in training, in the checkpoint and
// after it is read; in a literal 0 is the default.
func TestZeroIsZeroOverAPreset(t *testing.T) {
	c := preset(t, "")
	if _, err := toml.Decode("window = 8\nhidden = 4\nlayers = 1\nnoise = 2\nbatch = 4\nembed = 2\nsuper = 0\njoint = 2\n"+
		"gamma = 0\neta = 0\nthreshold = 0\nmoments = 0\nchanges = 0\ncovariances = 0\nfinal_rate = 0\nclock = 0\n", &c); err != nil {
		t.Fatal(err)
	}
	e := engine(t)
	m, err := timegan.Fit(context.Background(), c, e, training(t, c, .3), timegan.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := encoded(t, m)
	again, err := timegan.DecodeModel(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for what, got := range map[string]timegan.Config{"trained": m.Config, "read": again.Config} {
		if got.Gamma != 0 || got.Eta != 0 || got.Threshold != 0 || got.Moments != 0 || got.Changes != 0 || got.Covariances != 0 || got.FinalRate != 0 || got.Super != 0 || got.Clock != 0 {
			t.Errorf("%s: %+v", what, got)
		}
		if got.Window != 8 || got.LearningRate != 1e-3 {
			t.Errorf("%s: %+v", what, got)
		}
	}
	if m.Losses.S == 0 || m.Losses.C != 0 || m.Losses.K != 0 {
		t.Errorf("losses %+v: the joint phase has S, and no changes and covariances", m.Losses)
	}
	if !bytes.Equal(encoded(t, again), b) {
		t.Error("a checkpoint that is read and written is another")
	}
	// A phase of no updates ends where the one before ended.
	if _, err := timegan.Fit(context.Background(), c, e, training(t, c, .3), timegan.FitOptions{Resume: again}); err != nil {
		t.Error(err)
	}
	sparse := timegan.Config{Hidden: 4}.WithDefaults()
	if d := preset(t, ""); sparse.Gamma != d.Gamma || sparse.Eta != d.Eta || sparse.Joint != d.Joint || sparse.Hidden != 4 {
		t.Errorf("%+v", sparse)
	}
}

// A threshold of 0 lets the discriminator learn at every update, whatever its
// loss; one above any loss lets it rest.
func TestThreshold(t *testing.T) {
	weights := func(threshold float64) []float32 {
		c := tiny()
		c.Embed, c.Super, c.Joint = 1, 1, 2
		c = c.WithDefaults()
		c.Threshold = threshold
		m := fit(t, c, timegan.FitOptions{})
		for _, p := range m.Params {
			if strings.HasPrefix(p.Name, "discriminator.") {
				return p.Data
			}
		}
		t.Fatal("there is no discriminator")
		return nil
	}
	first := timegan.NewParams(tiny(), 6, 1)
	var initial []float32
	for _, p := range first {
		if strings.HasPrefix(p.Name, "discriminator.") && initial == nil {
			initial = p.Data
		}
	}
	learnt, rested := weights(0), weights(1e6)
	if len(initial) != len(rested) {
		t.Fatalf("%d initial weights, %d trained", len(initial), len(rested))
	}
	var moved, stayed bool
	for i := range initial {
		moved, stayed = moved || learnt[i] != initial[i], stayed || rested[i] != initial[i]
	}
	if !moved || stayed {
		t.Errorf("with threshold 0 the discriminator moved: %v; with a million: %v", moved, stayed)
	}
}

// Settings of checkpoints: keys that are missing are the defaults; what a sweep
// wrote before its defaults were filled in has them filled in; unknown keys and
// what cannot be are refused.
func TestConfigJSON(t *testing.T) {
	var c timegan.Config
	if err := json.Unmarshal([]byte(`{"hidden": 7, "eta": 0}`), &c); err != nil {
		t.Fatal(err)
	}
	if want := preset(t, ""); c.Hidden != 7 || c.Eta != 0 || c.Gamma != want.Gamma || c.Window != want.Window || c.WithDefaults() != c {
		t.Errorf("%+v", c)
	}
	old := `{"window":0,"hidden":16,"layers":0,"noise":0,"batch":0,"embed":0,"super":0,"joint":0,"seed":0,"learning_rate":0,"final_rate":0,"gamma":0,"moments":0,"eta":0,"changes":0,"covariances":0,"threshold":0,"clock":0,"latent":false}`
	if err := json.Unmarshal([]byte(old), &c); err != nil {
		t.Fatal(err)
	}
	if want := (timegan.Config{Hidden: 16}).WithDefaults(); c.WithDefaults() != want {
		t.Errorf("%+v, want %+v", c.WithDefaults(), want)
	}
	if err := json.Unmarshal([]byte(`{"gama": 1}`), &c); err == nil || !strings.Contains(err.Error(), "gama") {
		t.Errorf("unknown key: %v", err)
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	for field, edit := range map[string]func(*timegan.Config){
		"window": func(c *timegan.Config) { c.Window = 0 }, "hidden": func(c *timegan.Config) { c.Hidden = 1025 }, "layers": func(c *timegan.Config) { c.Layers = 17 },
		"noise": func(c *timegan.Config) { c.Noise = 0 }, "batch": func(c *timegan.Config) { c.Batch = 1 }, "clock": func(c *timegan.Config) { c.Clock = -2 },
		"embed": func(c *timegan.Config) { c.Embed = -1 }, "super": func(c *timegan.Config) { c.Super = -1 }, "joint": func(c *timegan.Config) { c.Joint = -1 },
		"learning_rate": func(c *timegan.Config) { c.LearningRate = 0 }, "gamma": func(c *timegan.Config) { c.Gamma = -1 }, "eta": func(c *timegan.Config) { c.Eta = -.1 },
		"moments": func(c *timegan.Config) { c.Moments = -1 }, "threshold": func(c *timegan.Config) { c.Threshold = -1 }, "final_rate": func(c *timegan.Config) { c.FinalRate = -1 },
	} {
		c := preset(t, "")
		edit(&c)
		if err := c.Check(); err == nil || !strings.HasPrefix(err.Error(), "timegan: "+field+": ") {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, edit := range []func(*timegan.Config){
		func(c *timegan.Config) { c.Window = 2 }, func(c *timegan.Config) { c.Window = 3600 }, func(c *timegan.Config) { c.Hidden, c.Layers, c.Noise = 1, 1, 1 },
		func(c *timegan.Config) { c.Hidden, c.Layers, c.Noise = 1024, 16, 1024 }, func(c *timegan.Config) { c.Batch = 2 }, func(c *timegan.Config) { c.Clock = -1 },
		func(c *timegan.Config) { c.Embed, c.Super, c.Joint = 0, 0, 0 }, func(c *timegan.Config) { c.Changes, c.Covariances = -1, -1 },
	} {
		c := preset(t, "")
		edit(&c)
		if err := c.Check(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Both ends of the range of every whole number.
func TestConfigRanges(t *testing.T) {
	for field, r := range map[string]struct {
		at     func(c *timegan.Config) *int
		lo, hi int
	}{
		"window": {func(c *timegan.Config) *int { return &c.Window }, 2, 3600}, "hidden": {func(c *timegan.Config) *int { return &c.Hidden }, 1, 1024},
		"layers": {func(c *timegan.Config) *int { return &c.Layers }, 1, 16}, "noise": {func(c *timegan.Config) *int { return &c.Noise }, 1, 1024},
		"batch": {func(c *timegan.Config) *int { return &c.Batch }, 2, 65536}, "clock": {func(c *timegan.Config) *int { return &c.Clock }, -1, 16777216},
		"embed": {func(c *timegan.Config) *int { return &c.Embed }, 0, 2147483647}, "super": {func(c *timegan.Config) *int { return &c.Super }, 0, 2147483647},
		"joint": {func(c *timegan.Config) *int { return &c.Joint }, 0, 2147483647},
	} {
		for x, ok := range map[int]bool{r.lo: true, r.hi: true, r.lo - 1: false, r.hi + 1: false} {
			c := preset(t, "")
			*r.at(&c) = x
			if err := c.Check(); (err == nil) != ok || err != nil && !strings.HasPrefix(err.Error(), fmt.Sprintf("timegan: %s: %d is outside %d…%d", field, x, r.lo, r.hi)) {
				t.Errorf("%s: %d: %v", field, x, err)
			}
		}
	}
	for field, at := range map[string]func(c *timegan.Config) *float64{
		"learning_rate": func(c *timegan.Config) *float64 { return &c.LearningRate }, "final_rate": func(c *timegan.Config) *float64 { return &c.FinalRate },
		"gamma": func(c *timegan.Config) *float64 { return &c.Gamma }, "moments": func(c *timegan.Config) *float64 { return &c.Moments }, "eta": func(c *timegan.Config) *float64 { return &c.Eta },
		"changes": func(c *timegan.Config) *float64 { return &c.Changes }, "covariances": func(c *timegan.Config) *float64 { return &c.Covariances }, "threshold": func(c *timegan.Config) *float64 { return &c.Threshold },
	} {
		for _, x := range []float64{math.NaN(), math.Inf(1)} {
			c := preset(t, "")
			*at(&c) = x
			if err := c.Check(); err == nil || !strings.HasPrefix(err.Error(), "timegan: "+field+": ") {
				t.Errorf("%s: %v: %v", field, x, err)
			}
		}
		c := preset(t, "")
		*at(&c) = 1e-9
		if err := c.Check(); err != nil {
			t.Errorf("%s: %v", field, err)
		}
	}
}
