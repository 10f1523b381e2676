package live

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/planegym/planegym/telemetry"
)

// snippet makes dash.js tell its state every second.
//
//go:embed player.js
var snippet []byte

const maxBody = 1 << 20 // bytes of a request

// Player takes a player's samples by POST. The body is JSON, an object, an
// array of them or one a line, with the names of the player's log; a member
// that is missing or null was not measured:
//
//	{"timestamp": 1694912784759, "Buffer": 3.977, "FPS": 30, "ReportedBitrate": 3312,
//	 "Resolution": "1280x720", "CalcBitrate": 66, "stall_s": 0}
//
// or such a log itself, header line first. timestamp is in ms of the player's
// clock, and so is the query's now, when the request was sent, by which that
// clock is aligned with ours; without it the latest timestamp is taken for it.
// There is one player: samples of two would be mixed. Whose samples are taken
// Config.PlayerAccess says; a page that is not named there needs the token:
// planegym(player, "http://collector:8080/?token=…").
//
// GET gives a script that makes dash.js post them:
//
//	<script src="http://collector:8080/player.js"></script>
//	<script>planegym(player, "http://collector:8080/")</script>
func (c *Collector) Player() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := time.Now()
		c.cfg.PlayerAccess.allow(w, r)
		switch r.Method {
		case http.MethodOptions:
			w.Header().Set("Access-Control-Allow-Methods", "GET, POST")
			w.Header().Set("Access-Control-Allow-Headers", "Content-Type, Authorization")
			w.WriteHeader(http.StatusNoContent)
		case http.MethodGet, http.MethodHead:
			w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
			_, _ = w.Write(snippet)
		case http.MethodPost:
			if code, why := c.cfg.PlayerAccess.refuse(r); code != 0 {
				c.turnedAway()
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(code)
				_ = json.NewEncoder(w).Encode(map[string]any{"accepted": 0, "error": why})
				return
			}
			n, err := c.post(at, r)
			code, answer := http.StatusOK, map[string]any{"accepted": n}
			if err != nil {
				code, answer["error"] = http.StatusBadRequest, err.Error()
				var large *http.MaxBytesError
				if errors.As(err, &large) {
					code = http.StatusRequestEntityTooLarge
				}
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_ = json.NewEncoder(w).Encode(answer)
		default:
			w.Header().Set("Allow", "GET, HEAD, OPTIONS, POST")
			http.Error(w, "GET or POST", http.StatusMethodNotAllowed)
		}
	})
}

// post takes the samples of a request, up to the first that is wrong.
func (c *Collector) post(at time.Time, r *http.Request) (int, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		return 0, fmt.Errorf("live: player: %w", err)
	}
	now := int64(0)
	if q := r.URL.Query().Get("now"); q != "" {
		f, err := strconv.ParseFloat(q, 64)
		if err != nil || !telemetry.PlausibleTime(f) {
			return 0, c.bad(&telemetry.ValueError{File: "query", Column: "now", Value: q, Want: wantMillis})
		}
		now = int64(f)
	}
	var taken []stamped
	body = bytes.TrimSpace(body)
	if len(body) > 0 && (body[0] == '{' || body[0] == '[') {
		taken, err = parseJSON(body)
	} else {
		header, rest, _ := bytes.Cut(body, []byte("\n"))
		taken, err = c.parseLog(header, rest, "body", 2, nil)
	}
	n := c.sampled(at, now, taken)
	if err != nil {
		err = c.bad(err)
	}
	return n, err
}

// bad counts a sample that could not be read.
func (c *Collector) bad(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.BadSamples++
	c.stats.LastError = err.Error()
	return err
}

// stamped is a sample by the player's clock, ms since 1970.
type stamped struct {
	millis int64
	sample
}

// sampled keeps samples that came at a time, sent at now by the player's clock;
// 0: at the time of the latest. Those that were taken later than they were sent
// are refused and counted; so are those of a time that an earlier request had,
// so that a player that sends nothing new still counts as silent.
func (c *Collector) sampled(at time.Time, now int64, samples []stamped) (taken int) {
	if len(samples) == 0 {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now == 0 {
		for _, s := range samples {
			now = max(now, s.millis)
		}
	}
	sent := c.playerClock.align(int64(at.Sub(c.base)), uint64(now)*uint64(time.Millisecond), 0)
	c.at = int64(at.Sub(c.base))
	repeated := make([]bool, len(samples)) // of one request all samples are new
	for i, s := range samples {
		repeated[i] = c.stamps.set[uint64(s.millis)]
	}
	for i, s := range samples {
		switch {
		case s.millis > now:
			err := &telemetry.ValueError{File: "body", Column: "timestamp", Value: strconv.FormatInt(s.millis, 10), Want: fmt.Sprintf("a time not after now, %d, when the request was sent", now)}
			c.stats.BadSamples++
			c.stats.LastError = err.Error()
		case repeated[i]:
			c.stats.Replayed++
		default:
			c.stamps.again(uint64(s.millis))
			c.keep(sent+(s.millis-now)*int64(time.Millisecond), s.sample)
			taken++
		}
	}
	return taken
}

// parseJSON reads objects, in an array or one after another.
func parseJSON(body []byte) ([]stamped, error) {
	type object struct {
		Timestamp       *float64 `json:"timestamp"`
		Buffer          *float64 `json:"Buffer"`
		FPS             *float64 `json:"FPS"`
		ReportedBitrate *float64 `json:"ReportedBitrate"`
		CalcBitrate     *float64 `json:"CalcBitrate"`
		Resolution      *string  `json:"Resolution"`
		Stall           *float64 `json:"stall_s"`
	}
	var out []stamped
	for d := json.NewDecoder(bytes.NewReader(body)); ; {
		var raw json.RawMessage
		if err := d.Decode(&raw); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return out, fmt.Errorf("live: player: sample %d: %w", len(out)+1, err)
		}
		if raw[0] != '[' {
			raw = slices.Concat(json.RawMessage("["), raw, json.RawMessage("]"))
		}
		var objects []object
		if err := json.Unmarshal(raw, &objects); err != nil {
			return out, fmt.Errorf("live: player: sample %d: %w", len(out)+1, err)
		}
		for _, o := range objects {
			bad := func(column, value, want string) ([]stamped, error) {
				return out, &telemetry.ValueError{File: "body", Line: len(out) + 1, Column: column, Value: value, Want: want}
			}
			var s stamped
			if o.Timestamp == nil || !telemetry.PlausibleTime(*o.Timestamp) {
				return bad("timestamp", shown(o.Timestamp), wantMillis)
			}
			s.millis = int64(*o.Timestamp)
			for i, v := range [playerColumns]*float64{lbo: o.Buffer, fps: o.FPS, kbps: o.ReportedBitrate, counter: o.CalcBitrate, stall: o.Stall} {
				if v == nil {
					continue
				}
				s.values[i], s.valid[i] = *v, true
			}
			if o.Resolution != nil {
				w, h, ok := strings.Cut(*o.Resolution, "x")
				x, errX := strconv.ParseUint(w, 10, 16)
				y, errY := strconv.ParseUint(h, 10, 16)
				if !ok || errX != nil || errY != nil {
					return bad("Resolution", *o.Resolution, "a resolution like 1280x720")
				}
				s.values[width], s.values[height] = float64(x), float64(y)
				s.valid[width], s.valid[height] = true, true
			}
			out = append(out, s)
		}
	}
}

const wantMillis = "milliseconds since 1970, of a time between 2000 and 2100"

func shown(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'g', -1, 64)
}

// parseLog reads lines of a player's log of a name, the first of them having a
// number. With bad, lines that cannot be read are given to it and passed over;
// without, the first one ends it.
func (c *Collector) parseLog(header, lines []byte, name string, first int, bad func(error)) ([]stamped, error) {
	r, err := telemetry.NewReader(io.MultiReader(bytes.NewReader(header), strings.NewReader("\n"), bytes.NewReader(lines), strings.NewReader("\n")), name, telemetry.DASH)
	if err != nil {
		var v *telemetry.ValueError
		if errors.As(err, &v) {
			v.Line += first - 2
		}
		return nil, err
	}
	column := map[int]int{}
	for i, f := range r.Fields() {
		if k := slices.Index(playerNames[:], f.Name); k >= 0 {
			column[i] = k
		}
	}
	var out []stamped
	var rec telemetry.Record
	for {
		err := r.Read(&rec)
		var v *telemetry.ValueError
		switch {
		case errors.Is(err, io.EOF):
			return out, c.refused(r, first, bad)
		case errors.As(err, &v) && v.Line > 0:
			v.Line += first - 2
			if bad == nil {
				return out, v
			}
			bad(v)
			continue
		case err != nil:
			return out, err
		}
		s := stamped{millis: rec.Millis}
		for i, k := range column {
			s.values[k], s.valid[k] = rec.Values[i], rec.Valid[i]
		}
		out = append(out, s)
	}
}

// refused counts the values that a log's reader refused, and gives the lines
// whose time cannot be one to bad; without it the first is the error.
func (c *Collector) refused(r *telemetry.Reader, first int, bad func(error)) error {
	for _, lost := range r.Refused() {
		lost.First.Line += first - 2
		k := width // of Resolution
		f, ok := telemetry.Canonical(lost.Column)
		if ok {
			k = slices.Index(playerNames[:], f.Name)
		}
		if ok || lost.Column == "Resolution" {
			c.mu.Lock()
			c.sampleTally.Add(k, lost)
			c.mu.Unlock()
			continue
		}
		if bad == nil {
			return lost.First
		}
		for range lost.Count {
			bad(lost.First)
		}
	}
	return nil
}
