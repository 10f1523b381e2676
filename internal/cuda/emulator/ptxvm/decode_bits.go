package ptxvm

import (
	"fmt"
)

func (d *decoder) cvta(in *instr, s *stmt, mods []string) error {
	to := len(mods) > 0 && mods[0] == "to"
	if to {
		mods = mods[1:]
	}
	if len(mods) != 2 || mods[1] != "u64" {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	base, ok := map[string]uint64{"global": 0, "const": 0, "shared": sharedBase, "shared::cta": sharedBase, "local": localBase, "param": paramBase}[mods[0]]
	if !ok {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	if to {
		base = -base
	}
	if err := want(s, 2); err != nil {
		return err
	}
	in.f = func(a, _, _ uint64) uint64 { return a + base }
	if base == 0 {
		in.op = opMov64
	}
	var err error
	if in.d, err = d.dest(s.args[0], 'd'); err != nil {
		return err
	}
	in.a, err = d.source(s.args[1], 'd')
	return err
}

// pack is mov between a register and the halves of it.
func (d *decoder) pack(in *instr, s *stmt, mods []string) error {
	t, ok := typ{}, len(mods) == 1
	if ok {
		t, ok = typeOf(mods[0])
	}
	if !ok || t.kind != 'b' || t.bits < 32 {
		return fmt.Errorf("unknown instruction %s of a vector", s.op)
	}
	half := map[byte]byte{'w': 'h', 'd': 'w'}[t.class]
	var err error
	if v := s.args[0]; v.kind == vector {
		in.op = opUnpack
		if len(v.list) != 2 || s.args[1].kind == vector {
			return fmt.Errorf("want two halves")
		}
		if in.d, err = d.dest(v.list[0], half); err != nil {
			return err
		}
		if in.e, err = d.dest(v.list[1], half); err != nil {
			return err
		}
		in.a, err = d.source(s.args[1], t.class)
		return err
	}
	v := s.args[1]
	if len(v.list) != 2 {
		return fmt.Errorf("want two halves")
	}
	if in.d, err = d.dest(s.args[0], t.class); err != nil {
		return err
	}
	if in.a, err = d.source(v.list[0], half); err != nil {
		return err
	}
	in.b, err = d.source(v.list[1], half)
	shift := t.bits / 2
	in.f = func(a, b, _ uint64) uint64 { return a | b<<shift }
	return err
}

func (d *decoder) lop3(in *instr, s *stmt) error {
	if s.op != "lop3.b32" {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	if err := want(s, 5); err != nil {
		return err
	}
	if s.args[4].kind != immediate || s.args[4].bits > 255 {
		return fmt.Errorf("table %s, want a constant up to 255", s.args[4])
	}
	table := s.args[4].bits
	in.f = func(a, b, c uint64) uint64 {
		var v uint64
		for i := range 8 {
			if table>>i&1 == 0 {
				continue
			}
			m := ^uint64(0)
			for j, x := range [3]uint64{c, b, a} {
				if i>>j&1 == 0 {
					x = ^x
				}
				m &= x
			}
			v |= m
		}
		return v
	}
	return d.threeTo(in, s, "www")
}

func (d *decoder) bfi(in *instr, s *stmt, mods []string) error {
	if len(mods) != 1 || mods[0] != "b32" && mods[0] != "b64" {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	if err := want(s, 5); err != nil {
		return err
	}
	t, _ := typeOf(mods[0])
	if s.args[3].kind != immediate || s.args[4].kind != immediate {
		return fmt.Errorf("want a constant position and length")
	}
	pos, n := s.args[3].bits&255, s.args[4].bits&255
	mask := (uint64(1)<<n - 1) << pos
	in.f = func(a, b, _ uint64) uint64 { return b&^mask | a<<pos&mask }
	return d.threeTo(in, s, each(t.class, 2))
}

// threeTo reads a destination and as many sources as classes.
func (d *decoder) threeTo(in *instr, s *stmt, classes string) error {
	var err error
	if in.d, err = d.dest(s.args[0], classes[0]); err != nil {
		return err
	}
	for i, r := range []*reg{&in.a, &in.b, &in.c}[:len(classes)] {
		if *r, err = d.source(s.args[i+1], classes[i]); err != nil {
			return err
		}
	}
	return nil
}
