package ptxvm

import (
	"math"
)

// convert is cvt. Its registers may be wider than its types.
func convert(mods []string) (operation, bool) {
	o := operation{src: "?"}
	if len(mods) < 2 {
		return o, false
	}
	to, ok1 := typeOf(mods[len(mods)-2])
	from, ok2 := typeOf(mods[len(mods)-1])
	if !ok1 || !ok2 || to.kind == 'p' || from.kind == 'p' || to.kind == 'b' || from.kind == 'b' {
		return o, false
	}
	mods = mods[:len(mods)-2]
	round := ""
	ftz, sat := false, false
	for _, m := range mods {
		switch m {
		case "rn", "rz", "rm", "rp", "rni", "rzi", "rmi", "rpi":
			if round != "" {
				return o, false
			}
			round = m
		case "ftz":
			ftz = true
		case "sat":
			sat = true
		default:
			return o, false
		}
	}
	load := func(v uint64) float64 { // a float of type from
		if from.bits == 32 {
			if ftz {
				v = flush(v)
			}
			return float64(f32(v))
		}
		return f64(v)
	}
	if to.kind == 'f' && to.bits < 32 || from.kind == 'f' && from.bits < 32 {
		return o, false
	}
	integral := map[string]func(float64) float64{"rni": math.RoundToEven, "rzi": math.Trunc, "rmi": math.Floor, "rpi": math.Ceil}[round]
	switch {
	case from.kind != 'f' && to.kind != 'f':
		if round != "" || ftz {
			return o, false
		}
		o.f = func(a, _, _ uint64) uint64 {
			v := from.extend(a)
			if sat {
				v = clampInt(v, from.kind == 's', to)
			}
			return to.extend(v)
		}
	case from.kind == 'f' && to.kind != 'f':
		if integral == nil {
			return o, false
		}
		o.f = func(a, _, _ uint64) uint64 { return toInt(integral(load(a)), to) }
	case from.kind != 'f':
		if round == "" || integral != nil {
			return o, false
		}
		o.dst = to.class
		o.f = func(a, _, _ uint64) uint64 {
			v := from.extend(a)
			if to.bits == 32 {
				f := float32(v)
				if from.kind == 's' {
					f = float32(int64(v))
				}
				f = float32(direct(float64(f), compareInt(float64(f), v, from.kind == 's'), round,
					func(x, y float64) float64 { return float64(math.Nextafter32(float32(x), float32(y))) }))
				if sat {
					f = saturate(f)
				}
				return b32(f)
			}
			f := float64(v)
			if from.kind == 's' {
				f = float64(int64(v))
			}
			return b64(direct(f, compareInt(f, v, from.kind == 's'), round, math.Nextafter))
		}
	default: // float to float
		o.dst = to.class
		o.src = string(from.class)
		narrow := to.bits < from.bits
		if narrow && (round == "" || integral != nil) || to.bits > from.bits && round != "" || to.bits == from.bits && round != "" && integral == nil {
			return o, false
		}
		o.f = func(a, _, _ uint64) uint64 {
			v := load(a)
			if integral != nil {
				v = integral(v)
			}
			if to.bits == 64 {
				return b64(v)
			}
			f := float32(v)
			if narrow {
				order := 0
				if float64(f) > v {
					order = 1
				} else if float64(f) < v {
					order = -1
				}
				f = float32(direct(float64(f), order, round,
					func(x, y float64) float64 { return float64(math.Nextafter32(float32(x), float32(y))) }))
			}
			if sat {
				f = saturate(f)
			}
			if ftz {
				return flush(b32(f))
			}
			return b32(f)
		}
	}
	return o, true
}

// direct turns f, the nearest float to a value, into the one that the rounding
// mode wants; order says whether f is below (-1), at or above (1) the value.
func direct(f float64, order int, round string, next func(x, y float64) float64) float64 {
	down := round == "rm" || round == "rz" && f > 0
	up := round == "rp" || round == "rz" && f < 0
	switch {
	case order > 0 && down:
		return next(f, math.Inf(-1))
	case order < 0 && up:
		return next(f, math.Inf(1))
	}
	return f
}

// compareInt compares f, which is within rounding of the integer v, with it.
func compareInt(f float64, v uint64, signed bool) int {
	if signed {
		if f >= 1<<63 {
			return 1
		}
		i := int64(f)
		switch {
		case i > int64(v):
			return 1
		case i < int64(v):
			return -1
		}
		return 0
	}
	if f >= 1<<64 {
		return 1
	}
	switch i := uint64(f); {
	case i > v:
		return 1
	case i < v:
		return -1
	}
	return 0
}

// toInt converts an integral float, clamped to the type; NaN becomes 0.
func toInt(v float64, t typ) uint64 {
	if v != v {
		return 0
	}
	if t.kind == 's' {
		limit := math.Ldexp(1, int(t.bits)-1)
		switch {
		case v >= limit:
			return 1<<(t.bits-1) - 1
		case v < -limit:
			return -uint64(1 << (t.bits - 1))
		}
		return uint64(int64(v))
	}
	switch {
	case v <= 0:
		return 0
	case v >= math.Ldexp(1, int(t.bits)):
		return ^uint64(0) >> (64 - t.bits)
	}
	return uint64(v)
}
