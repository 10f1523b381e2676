package env

// SinCos lets the external test reach the series.
var SinCos = sinCos
