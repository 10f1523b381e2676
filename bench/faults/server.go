package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/planegym/planegym/env/ws"
)

// The server under test: a process, its metrics and its memory.

// server is a planegym serve that runs.
type server struct {
	cmd       *exec.Cmd
	addr, url string
	admin     string
	stderr    bytes.Buffer
	exit      error
	done      chan struct{}
}

func (b *bench) start(args ...string) (*server, error) {
	s := &server{done: make(chan struct{})}
	s.cmd = exec.Command(b.bin, append([]string{"serve", "--json", "--admin", "127.0.0.1:0"}, args...)...)
	s.cmd.Stderr = &s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	var hello struct{ URL, Admin string }
	r := bufio.NewReader(out)
	err = json.NewDecoder(r).Decode(&hello)
	go func() { _, _ = io.Copy(io.Discard, r); s.exit = s.cmd.Wait(); close(s.done) }()
	if err != nil {
		<-s.done
		return nil, fmt.Errorf("serve %v: %s", args, &s.stderr)
	}
	s.url, s.admin = hello.URL, hello.Admin
	s.addr = strings.TrimSuffix(strings.TrimPrefix(s.url, "ws://"), ws.Path)
	return s, nil
}

// stop drains the server, and says whether it ended well.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.done
	if s.exit != nil {
		return fmt.Errorf("server: %w: %s", s.exit, &s.stderr)
	}
	return nil
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// plain asks for no compression, for which a server keeps a megabyte between two scrapes, or not.
var plain = http.Client{Transport: &http.Transport{DisableCompression: true}}

// metrics are the sums of the named metrics' values, of one moment.
func (s *server) metrics(names ...string) ([]float64, error) {
	resp, err := plain.Get(s.admin + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	sums, found := make([]float64, len(names)), make([]bool, len(names))
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		for i, name := range names {
			rest, ok := strings.CutPrefix(lines.Text(), name)
			if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
				continue
			}
			v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
			if err != nil {
				return nil, err
			}
			sums[i], found[i] = sums[i]+v, true
		}
	}
	if i := slices.Index(found, false); i >= 0 {
		return nil, fmt.Errorf("no metric %s", names[i])
	}
	return sums, nil
}

func (s *server) metric(name string) (float64, error) {
	v, err := s.metrics(name)
	if err != nil {
		return 0, err
	}
	return v[0], nil
}

const mib = 1 << 20

const rssMetric = "process_resident_memory_bytes"

func (s *server) rss() (float64, error) { return s.metric(rssMetric) }

// keep writes what the server says at path of its admin address to a file.
func (s *server) keep(path, file string) error {
	resp, err := plain.Get(s.admin + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}
