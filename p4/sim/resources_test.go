package sim

import (
	"fmt"
	"slices"
	"testing"

	p4v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/planegym/planegym/p4"
)

// Cells of counters, entries' counters, groups and sessions: what may be done
// with which, and what reads give then.
func TestResourceTable(t *testing.T) {
	every(t, Config{Depths: []p4.Limit{64, 32}}, func(t *testing.T, s *Server, c *raw) {
		c.ready()
		unknown := pick(s, codes.InvalidArgument, codes.NotFound)
		of := c.info.Counters[0]
		id, size := of.Preamble.Id, of.Size
		counter := func(id uint32, index int64, packets int64) *p4v1.Entity {
			e := &p4v1.CounterEntry{CounterId: id}
			if index != none {
				e.Index = &p4v1.Index{Index: index}
			}
			if packets != none {
				e.Data = &p4v1.CounterData{PacketCount: packets}
			}
			return &p4v1.Entity{Entity: &p4v1.Entity_CounterEntry{CounterEntry: e}}
		}
		session := func(id uint32) *p4v1.Entity {
			return replication(&p4v1.PacketReplicationEngineEntry{Type: &p4v1.PacketReplicationEngineEntry_CloneSessionEntry{CloneSessionEntry: &p4v1.CloneSessionEntry{SessionId: id}}})
		}
		const insert, modify, remove, unspecified = p4v1.Update_INSERT, p4v1.Update_MODIFY, p4v1.Update_DELETE, p4v1.Update_UNSPECIFIED
		for _, x := range []struct {
			what string
			t    p4v1.Update_Type
			e    *p4v1.Entity
			want codes.Code
		}{
			{"the first cell", modify, counter(id, 0, 3), codes.OK},
			{"the last cell", modify, counter(id, size-1, 4), codes.OK},
			{"a cell before the first", modify, counter(id, -1, 4), codes.OutOfRange},
			{"a cell behind the last", modify, counter(id, size, 4), codes.OutOfRange},
			{"a cell inserted", insert, counter(id, 0, 4), codes.InvalidArgument},
			{"another counter", modify, counter(id+1, 0, 4), unknown},
			{"a group", insert, group(3), codes.OK},
			{"it again", insert, group(3), codes.AlreadyExists},
			{"it changed", modify, group(3), codes.OK},
			{"another group", insert, group(1), codes.OK},
			{"group 0", insert, group(0), codes.InvalidArgument},
			{"a group that is not there changed", modify, group(2), codes.NotFound},
			{"a group that is not there deleted", remove, group(2), codes.NotFound},
			{"a group, no type", unspecified, group(3), codes.InvalidArgument},
			{"a session", insert, session(7), codes.OK},
			{"another session", insert, session(5), codes.OK},
			{"a session deleted", remove, session(7), codes.OK},
			{"it again", remove, session(7), codes.NotFound},
			{"neither", insert, replication(&p4v1.PacketReplicationEngineEntry{}), codes.InvalidArgument},
		} {
			err := c.write(&p4v1.Update{Type: x.t, Entity: x.e})
			if got := refused(t, err); got != x.want {
				t.Errorf("%s: %v, want %v", x.what, got, x.want)
			}
		}
		ids := func(e *p4v1.Entity) []string {
			found, err := c.reads(e)
			if err != nil {
				return []string{status.Code(err).String()}
			}
			var out []string
			for _, f := range found {
				switch x := f.GetPacketReplicationEngineEntry(); {
				case x.GetMulticastGroupEntry() != nil:
					out = append(out, fmt.Sprint("group ", x.GetMulticastGroupEntry().MulticastGroupId))
				case x.GetCloneSessionEntry() != nil:
					out = append(out, fmt.Sprint("session ", x.GetCloneSessionEntry().SessionId))
				default:
					out = append(out, fmt.Sprint(f.GetCounterEntry().Index.Index, "=", f.GetCounterEntry().Data.PacketCount))
				}
			}
			return out
		}
		for _, x := range []struct {
			what string
			e    *p4v1.Entity
			want []string
		}{
			{"all groups", group(0), []string{"group 1", "group 3"}},
			{"one group", group(3), []string{"group 3"}},
			{"no such group", group(2), nil},
			{"all sessions", session(0), []string{"session 5"}},
			{"one session", session(5), []string{"session 5"}},
			{"no such session", session(7), nil},
			{"all", replication(&p4v1.PacketReplicationEngineEntry{}), []string{"group 1", "group 3", "session 5"}},
			{"a cell", counter(id, 0, none), []string{"0=3"}},
			{"the last cell", counter(id, size-1, none), []string{fmt.Sprint(size-1, "=4")}},
			{"a cell that was never set", counter(id, 1, none), []string{"1=0"}},
			{"another counter", counter(id+1, 0, none), []string{unknown.String()}},
			{"a cell of both counters", counter(0, 0, none), []string{"0=3", "0=0"}},
		} {
			if got := ids(x.e); !slices.Equal(got, x.want) {
				t.Errorf("%s: %v, want %v", x.what, got, x.want)
			}
		}
		// Without an index all cells are set, without data to 0.
		if err := c.write(&p4v1.Update{Type: modify, Entity: counter(id, none, 9)}); err != nil {
			t.Fatal(err)
		}
		if all := ids(counter(id, none, none)); int64(len(all)) != size || all[0] != "0=9" || all[len(all)-1] != fmt.Sprint(size-1, "=9") {
			t.Errorf("all cells: %d of %d, %v", len(all), size, all[:1])
		}
		if err := c.write(&p4v1.Update{Type: modify, Entity: counter(id, 2, none)}); err != nil {
			t.Fatal(err)
		}
		if got := ids(counter(id, 2, none)); !slices.Equal(got, []string{"2=0"}) {
			t.Errorf("a cell that was emptied: %v", got)
		}
	})
}

const none = -1 << 62
