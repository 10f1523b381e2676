package rng

import "math/bits"

// PCG64 is numpy's default generator, PCG XSL-RR 128/64 (O'Neill 2014), for
// the environments that must draw what Gymnasium draws. Everything else uses
// Philox. The zero value is not seeded.
type PCG64 struct{ StateHi, StateLo, IncHi, IncLo uint64 }

// NewPCG64 is numpy.random.PCG64(numpy.random.SeedSequence(seed)).
func NewPCG64(seed uint64) PCG64 {
	v := seedSequence(seed)
	p := PCG64{IncHi: v[2]<<1 | v[3]>>63, IncLo: v[3]<<1 | 1}
	p.step()
	var c uint64
	p.StateLo, c = bits.Add64(p.StateLo, v[1], 0)
	p.StateHi, _ = bits.Add64(p.StateHi, v[0], c)
	p.step()
	return p
}

func (p *PCG64) step() {
	const mulHi, mulLo = 2549297995355413924, 4865540595714422341
	hi, lo := bits.Mul64(p.StateLo, mulLo)
	hi += p.StateHi*mulLo + p.StateLo*mulHi
	var c uint64
	p.StateLo, c = bits.Add64(lo, p.IncLo, 0)
	p.StateHi, _ = bits.Add64(hi, p.IncHi, c)
}

// Uint64 is the next 64 bits.
func (p *PCG64) Uint64() uint64 {
	p.step()
	return bits.RotateLeft64(p.StateHi^p.StateLo, -int(p.StateHi>>58))
}

// Uniform is the next number of numpy's Generator.uniform(low, high).
func (p *PCG64) Uniform(low, high float64) float64 {
	u := float64(p.Uint64()>>11) * 0x1p-53
	return low + float64((high-low)*u) // the conversion forbids a fused multiply-add
}

// seedSequence is numpy's SeedSequence(seed).generate_state(4, uint64).
func seedSequence(seed uint64) (out [4]uint64) {
	entropy := [4]uint32{uint32(seed), uint32(seed >> 32)}
	var pool [4]uint32
	hash := uint32(0x43b0d7e5)
	mix := func(v uint32) uint32 {
		v ^= hash
		hash *= 0x931e8875
		v *= hash
		return v ^ v>>16
	}
	for i := range pool {
		pool[i] = mix(entropy[i])
	}
	for src := range pool {
		for dst := range pool {
			if src != dst {
				v := 0xca01f9dd*pool[dst] - 0x4973f715*mix(pool[src])
				pool[dst] = v ^ v>>16
			}
		}
	}
	hash = 0x8b51f9dd
	for i := range 8 {
		v := pool[i%4] ^ hash
		hash *= 0x58f38ded
		v *= hash
		v ^= v >> 16
		out[i/2] |= uint64(v) << (32 * (i % 2))
	}
	return out
}
