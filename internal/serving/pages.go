package serving

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"

	"github.com/planegym/planegym"
	"github.com/planegym/planegym/env/ws"
	"github.com/planegym/planegym/internal/envpage"
	"github.com/planegym/planegym/scenarios"
)

// Pages describes the served scenarios for the dashboard, the default first;
// file says that this one is the user's own.
func Pages(o *planegym.Gym, served map[string]scenarios.Scenario, first string, file bool) ([]ws.Scenario, error) {
	measured, err := scenarios.MeasuredReturns()
	if err != nil {
		return nil, err
	}
	bundledNames := scenarios.Names()
	var out []ws.Scenario
	for name, s := range served {
		own := !slices.Contains(bundledNames, name) || file && name == first
		p := ws.Scenario{Name: name, Description: s.Description, Page: pageOf(o, s, own)}
		if !own {
			p.Best = known(measured[name].Policies)
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b ws.Scenario) int {
		switch {
		case a.Name == first:
			return -1
		case b.Name == first:
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out, nil
}

// known are the returns that a chart compares with: the best constant limit's,
// and the best policy's where that is another.
func known(all []scenarios.Return) []ws.Known {
	var out []ws.Known
	for i, r := range all {
		constant := strings.HasPrefix(r.Policy, "fixed:")
		if i == 0 || constant && (len(out) == 0 || !strings.HasPrefix(out[0].Policy, "fixed:")) {
			out = append(out, ws.Known{Policy: r.Policy, Return: r.Mean})
		}
		if constant {
			break
		}
	}
	return out
}

// pageOf renders the page of s when it is first asked for.
func pageOf(o *planegym.Gym, s scenarios.Scenario, own bool) func(context.Context) (string, error) {
	var mu sync.Mutex
	html := ""
	return func(ctx context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if html != "" {
			return html, nil
		}
		page, err := envpage.Describe(ctx, o, s, own)
		if err != nil {
			return "", fmt.Errorf("scenario %s: %w", s.Name, err)
		}
		var b bytes.Buffer
		if err := goldmark.New(goldmark.WithExtensions(extension.Table)).Convert([]byte(page.Markdown()), &b); err != nil {
			return "", fmt.Errorf("scenario %s: %w", s.Name, err)
		}
		text := b.String()
		if page.Figure() != "" { // inside the page, which has no files beside it
			var drawing bytes.Buffer
			if err := page.WriteFigure(&drawing); err != nil {
				return "", fmt.Errorf("scenario %s: %w", s.Name, err)
			}
			text = strings.Replace(text, `src="`+page.Figure()+`"`, `src="data:image/svg+xml;base64,`+base64.StdEncoding.EncodeToString(drawing.Bytes())+`"`, 1)
		}
		html = text
		return html, nil
	}
}
