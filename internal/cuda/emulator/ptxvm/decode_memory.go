package ptxvm

import (
	"fmt"
	"slices"
)

// memory is ld and st.
func (d *decoder) memory(in *instr, s *stmt, parts []string) error {
	in.op, in.vec = opLoad, 1
	if parts[0] == "st" {
		in.op = opStore
	}
	mods := parts[1:]
	if len(mods) == 0 {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	t, ok := typeOf(mods[len(mods)-1])
	if !ok || t.kind == 'p' {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	for _, m := range mods[:len(mods)-1] {
		switch m {
		case "global", "const":
			in.space = global
		case "shared", "shared::cta":
			in.space = shared
		case "local":
			in.space = local
		case "param":
			in.space = param
		case "v2":
			in.vec = 2
		case "v4":
			in.vec = 4
		case "volatile", "relaxed", "acquire", "release":
			in.relaxed = true
		default:
			if !slices.Contains(cacheHints, m) {
				return fmt.Errorf("unknown instruction %s", s.op)
			}
		}
	}
	if err := want(s, 2); err != nil {
		return err
	}
	in.size, in.signed = uint8(t.bits/8), t.kind == 's'
	if int(in.size)*int(in.vec) > 16 {
		return fmt.Errorf("%d bytes at once, at most 16", int(in.size)*int(in.vec))
	}
	if in.space == shared && in.size < 4 || in.space == generic && in.size < 4 {
		d.k.fine = true
	}
	at, value := s.args[1], s.args[0]
	if in.op == opStore {
		at, value = value, at
	}
	if in.space == param && in.op == opStore {
		return fmt.Errorf("parameters are read only")
	}
	if err := d.address(in, at); err != nil {
		return err
	}
	elems := []operand{value}
	if in.vec > 1 {
		elems = value.list
	}
	if len(elems) != int(in.vec) || in.vec > 1 && value.kind != vector {
		return fmt.Errorf("operand %s, want %d elements", value, in.vec)
	}
	in.words = in.op == opLoad && in.size == 4
	for i, e := range elems {
		var err error
		if in.op == opLoad {
			in.v[i], err = d.dest(e, '?')
			if e.name == "_" {
				in.v[i], err = d.row(t.class), nil
			}
		} else {
			class := t.class
			if r, ok := d.regs[e.name]; ok {
				class = r.class
			}
			in.v[i], err = d.source(e, class)
		}
		if err != nil {
			return err
		}
		if c := in.v[i].class; c == 'p' || classBits(c) < int(t.bits) && t.bits > 8 {
			return fmt.Errorf("%s has %d bits, want %d", e, classBits(c), t.bits)
		}
		in.words = in.words && in.v[i].class == 'w'
	}
	return nil
}

// atom is atom and red.
func (d *decoder) atom(in *instr, s *stmt, parts []string) error {
	in.op, in.vec, in.relaxed = opAtom, 1, true
	mods := parts[1:]
	if len(mods) < 2 {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	t, ok := typeOf(mods[len(mods)-1])
	if !ok || t.bits < 32 {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	op := ""
	for _, m := range mods[:len(mods)-1] {
		switch m {
		case "global":
			in.space = global
		case "shared", "shared::cta":
			in.space = shared
		case "relaxed":
		case "acquire", "release", "acq_rel":
			in.fence = true
		case "cta", "gpu", "sys", "cluster":
		default:
			if op != "" {
				return fmt.Errorf("unknown instruction %s", s.op)
			}
			op = m
		}
	}
	f, err := modify(op, t)
	if err != nil {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	in.f, in.size, in.float = f, uint8(t.bits/8), t.kind == 'f'
	args := s.args
	if parts[0] == "atom" {
		if len(args) == 0 {
			return want(s, 3)
		}
		if in.d, err = d.dest(args[0], t.class); err != nil {
			return err
		}
		args = args[1:]
	}
	n := 2
	if op == "cas" {
		n = 3
	}
	if len(args) != n {
		return want(s, len(s.args)-len(args)+n)
	}
	if err := d.address(in, args[0]); err != nil {
		return err
	}
	if in.b, err = d.source(args[1], t.class); err == nil && op == "cas" {
		in.c, err = d.source(args[2], t.class)
	}
	return err
}
