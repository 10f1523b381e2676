package cuda

import "github.com/planegym/planegym/internal/cuda/driver"

// The structures that kernels.cu shares with the host, of equal layout;
// kernels.cu says what their fields mean.

type control struct {
	Seed    uint64
	Update  int32
	Slot    int32
	Bad     int32
	Learned [5]int32
}

// none is Control.Bad where every gradient was a number.
const none = 1<<31 - 1

type prepareArgs struct {
	Control                           driver.Ptr
	Data, DataValid, Limit            driver.Ptr
	Second, Start, Bit                driver.Ptr
	Median                            driver.Ptr
	X, Valid, Cond, Cells, Codes      driver.Ptr
	Z, Fake, Clock, Carry             driver.Ptr
	Fresh                             uint64
	Starts, T, B, F, V, C, Z0, H      int32
	Layers, Turn, Pick, Round, Latent int32
	_                                 int32
}

type noiseArgs struct {
	Draws, Z, Cond    driver.Ptr
	Rows, Z0, C, Turn int32
}

type part struct {
	P     driver.Ptr
	Width int32
	_     int32
}

type source struct {
	P, Sums                     driver.Ptr
	Stride, Shift, Blocks, Root int32
	Weight                      float32
	_                           int32
}

type pass struct {
	W                                driver.Ptr
	Part                             [3]part
	X, H, Gates, Y, Filled, Carry    driver.Ptr
	Source                           [4]source
	DY, DH, DX                       driver.Ptr
	In, Out, Layers, Squash, Sources int32
	CarryRow, CarryLayer             int32
	_                                int32
}

type networkArgs struct {
	Pass, Valid, Bit, Median, Rows driver.Ptr
	First, Split, Count            int32
	T, B, H, V, R                  int32
	Stage, Weights                 int32
}

type product struct {
	A, B               driver.Ptr
	LDA, NA, Edge, Gap int32
	LDB, NB            int32
	Weight, Bias       int32
	Slot               int32
	_                  int32
}

type tile struct{ Product, I, J, _ int32 }

type productArgs struct {
	Products, Tiles, Partials driver.Ptr
	Rows, Each, Params        int32
	_                         int32
}

type span struct{ From, Count, Slots, Network int32 }

type learnArgs struct {
	Control           driver.Ptr
	Partials          driver.Ptr
	Grad, P, M, V     driver.Ptr
	Gate              driver.Ptr
	Threshold         float64
	Rate, Fall        float64
	One, Two          span
	Params, Gates, Of int32
	Before            int32
}

type loss struct {
	A, B, Mask        driver.Ptr
	D                 driver.Ptr
	Sums              driver.Ptr
	Kind, Blocks      int32
	Rows, Width, Each int32
	Weight, Label     float32
	_                 int32
}

// Kinds of loss.
const (
	squares = iota
	crossEntropy
	moments
	changes
	covariances
)

type lossArgs struct {
	Loss, Stats driver.Ptr
	T, B, F     int32
	Lags        [4]int32
	_           int32
}

type statsArgs struct {
	X, Stats driver.Ptr
	T, B, F  int32
	_        int32
}

type spreadArgs struct {
	X, Stats, Products driver.Ptr
	D                  driver.Ptr
	T, B, F            int32
	Lags               [4]int32
	_                  int32
}

type sum struct {
	Sums          driver.Ptr
	N, Mean, Into int32
	_             int32
}

type record struct {
	Loss [7]float32 // R, S, U, V, C, K, D
	Bad  int32
}

type finishArgs struct {
	Control, Sum, Records, Gate driver.Ptr
	Threshold                   float64
	Count, Gates                int32
	Learned                     [5]int32
	Gated                       int32
}
