package ptxvm

import (
	"fmt"
	"slices"
	"strings"
)

func (d *decoder) barrier(in *instr, s *stmt, mods []string) error {
	if len(mods) > 0 && mods[0] == "warp" {
		in.op = opWarpBar
		if err := want(s, 1); err != nil {
			return err
		}
		var err error
		in.c, err = d.source(s.args[0], 'w')
		return err
	}
	mods = slices.DeleteFunc(mods, func(m string) bool { return m == "cta" || m == "aligned" })
	if len(mods) != 1 || mods[0] != "sync" {
		return fmt.Errorf("only bar.sync of the whole block is supported")
	}
	if len(s.args) != 1 || s.args[0].kind != immediate {
		return fmt.Errorf("only bar.sync of the whole block, by a constant, is supported")
	}
	if s.args[0].bits > 15 {
		return fmt.Errorf("barrier %d, want 0 to 15", s.args[0].bits)
	}
	in.op = opBar
	return nil
}

// Modes of shfl.
const (
	shflUp = iota
	shflDown
	shflBfly
	shflIdx
)

func (d *decoder) shuffle(in *instr, s *stmt, mods []string) error {
	in.op = opShfl
	mode := -1
	if len(mods) == 3 && mods[0] == "sync" && mods[2] == "b32" {
		mode = slices.Index([]string{"up", "down", "bfly", "idx"}, mods[1])
	}
	if mode < 0 {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	in.mode = uint8(mode)
	if err := want(s, 5); err != nil {
		return err
	}
	dst := s.args[0]
	var err error
	if dst.kind == pair {
		if in.e, err = d.dest(dst.list[1], 'p'); err != nil {
			return err
		}
		dst = dst.list[0]
	}
	if in.d, err = d.dest(dst, 'w'); err != nil {
		return err
	}
	for i, r := range []*reg{&in.a, &in.b, &in.v[0], &in.c} {
		if *r, err = d.source(s.args[i+1], 'w'); err != nil {
			return err
		}
	}
	return nil
}

// Modes of vote and redux.
const (
	voteAll = iota
	voteAny
	voteUni
	voteBallot
)

func (d *decoder) vote(in *instr, s *stmt, mods []string) error {
	in.op = opVote
	mode := slices.Index([]string{"sync.all.pred", "sync.any.pred", "sync.uni.pred", "sync.ballot.b32"}, strings.Join(mods, "."))
	if mode < 0 {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	in.mode = uint8(mode)
	if err := want(s, 3); err != nil {
		return err
	}
	dst := byte('p')
	if mode == voteBallot {
		dst = 'w'
	}
	arg := s.args[1]
	in.signed = arg.neg // vote of !p
	arg.neg = false
	var err error
	if in.d, err = d.dest(s.args[0], dst); err != nil {
		return err
	}
	if in.a, err = d.source(arg, 'p'); err != nil {
		return err
	}
	in.c, err = d.source(s.args[2], 'w')
	return err
}

func (d *decoder) redux(in *instr, s *stmt, mods []string) error {
	in.op = opRedux
	if len(mods) != 3 || mods[0] != "sync" {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	t, ok := typeOf(mods[2])
	if !ok || t.bits != 32 || t.kind == 'f' {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	f, err := modify(mods[1], t)
	if err != nil || mods[1] == "cas" || mods[1] == "exch" || mods[1] == "inc" || mods[1] == "dec" {
		return fmt.Errorf("unknown instruction %s", s.op)
	}
	in.f = f
	if err := want(s, 3); err != nil {
		return err
	}
	if in.d, err = d.dest(s.args[0], 'w'); err != nil {
		return err
	}
	if in.a, err = d.source(s.args[1], 'w'); err != nil {
		return err
	}
	in.c, err = d.source(s.args[2], 'w')
	return err
}
