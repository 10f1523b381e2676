package cuda

import "github.com/planegym/planegym/internal/cuda/driver"

// The structures that sequence.h shares with the host, of equal layout;
// sequence.h says what their fields mean.

type column struct{ Token, At, Dim, Dense int32 }

type gatherArgs struct {
	P, Columns, Tokens, Numbers, X driver.Ptr
	Rows, In, Tokens_, Dense       int32
}

type classHead struct{ Begin, Size, First, Count int32 }

type classGiven struct{ Head, At int32 }

type classArgs struct {
	P, Heads, Given, Values, Weight, Y, Sums driver.Ptr
	Rows, Heads_, Width                      int32
	Scale                                    float32
}

type tableRows struct {
	Classes, D   driver.Ptr
	Step, Stride int32
	First        int32
	Dim, At      int32
	_            int32
}

type scatterArgs struct {
	Tables, Partials                    driver.Ptr
	Count, Elements, Rows, Each, Params int32
	_                                   int32
}

type normArgs struct {
	Grad, Norm driver.Ptr
	Params     int32
	_          int32
}

type updateArgs struct {
	Control, Norm, Grad, Decay driver.Ptr
	P, M, V, Average           driver.Ptr
	Limit                      float64
	Keep, Step, Root, Towards  float32
	Params                     int32
	_                          int32
}

type weightArgs struct {
	Heads, Y            driver.Ptr
	Rows, Heads_, Width int32
	_                   int32
}
