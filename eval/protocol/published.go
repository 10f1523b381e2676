package protocol

import "fmt"

// Figure is what a paper gives a generator on a public set, windows of 24 rows: mean
// and deviation of repeated scorings. 0 is not given. Their Fréchet distance is on
// another network: it is not comparable.
type Figure struct {
	Name           string
	Set            string // of public data
	Columns        int    // of the set
	Discriminative float64
	DSD            float64
	Predictive     float64
	PSD            float64
	Cor, CSD       float64 // correlational
}

// The papers: Diffusion-TS is Yuan and Qiao, ICLR 2024, table 1; PaD-TS is Li et al.,
// AAAI 2025, the table of length 24, whose authors scored TimeGAN and Diffusion-TS
// anew; FM-TS is Hu et al., arXiv 2411.07506v1, the abstract (its third version calls
// these figures a context FID).
var figures = []Figure{
	{"TimeGAN, as Diffusion-TS reports it", "Stocks", 6, .102, .021, .038, .001, .063, .005},
	{"TimeGAN, as PaD-TS reports it", "Stocks", 6, .143, .073, .039, 0, 0, 0},
	{"Diffusion-TS (ICLR 2024)", "Stocks", 6, .067, .015, .036, 0, .004, .001},
	{"Diffusion-TS, as PaD-TS reports it", "Stocks", 6, .082, .025, .037, 0, 0, 0},
	{"PaD-TS (AAAI 2025)", "Stocks", 6, .055, .087, .037, 0, 0, 0},
	{"FM-TS (arXiv 2411.07506v1)", "Stocks", 6, .019, 0, 0, 0, 0, 0},
	{"TimeGAN, as Diffusion-TS reports it", "Energy", 28, .236, .012, .273, .004, 4.010, .104},
	{"TimeGAN, as PaD-TS reports it", "Energy", 28, .469, .017, .338, .010, 0, 0},
	{"Diffusion-TS (ICLR 2024)", "Energy", 28, .122, .003, .250, 0, .856, .147},
	{"Diffusion-TS, as PaD-TS reports it", "Energy", 28, .127, .016, .250, 0, 0, 0},
	{"PaD-TS (AAAI 2025)", "Energy", 28, .078, .011, .251, .011, 0, 0},
	{"FM-TS (arXiv 2411.07506v1)", "Energy", 28, .053, 0, 0, 0, 0, 0},
	{"TimeGAN, as Diffusion-TS reports it", "ETTh", 7, .114, .055, .124, .001, .210, .006},
	{"Diffusion-TS (ICLR 2024)", "ETTh", 7, .061, .009, .119, .002, .049, .008},
	{"FM-TS (arXiv 2411.07506v1)", "ETTh", 7, .011, 0, 0, 0, 0, 0},
	{"TimeGAN, as Diffusion-TS reports it", "Sines", 5, .011, .008, .093, .019, .045, .010},
	{"Diffusion-TS (ICLR 2024)", "Sines", 5, .006, .007, .093, 0, .015, .004},
	{"PaD-TS (AAAI 2025)", "Sines", 5, .013, .004, .093, 0, 0, 0},
	{"FM-TS (arXiv 2411.07506v1)", "Sines", 5, .005, 0, 0, 0, 0, 0},
}

// Cells are the discriminative, predictive and correlational score as text, "" of one
// that is not given.
func (f Figure) Cells() []string {
	cell := func(x, sd float64) string {
		switch {
		case x == 0:
			return ""
		case sd == 0:
			return fmt.Sprintf("%.3f", x)
		}
		return fmt.Sprintf("%.3f ± %.3f", x, sd)
	}
	return []string{cell(f.Discriminative, f.DSD), cell(f.Predictive, f.PSD), cell(f.Cor, f.CSD)}
}

// Published are the figures of papers on the public set that has so many columns; on
// Stocks where none has: they are of other data then.
func Published(columns int) (set string, of []Figure) {
	set = "Stocks"
	for _, f := range figures {
		if f.Columns == columns {
			set = f.Set
		}
	}
	for _, f := range figures {
		if f.Set == set {
			of = append(of, f)
		}
	}
	return set, of
}
