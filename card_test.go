package planegym

import (
	"strings"
	"testing"
)

// A checkpoint of training under way says so.
func TestModelCardUnfinished(t *testing.T) {
	m, err := OpenModel("recorded")
	if err != nil {
		t.Fatal(err)
	}
	m.TimeGAN.Phase, m.TimeGAN.Update, m.TimeGAN.Credit = 1, 77, ""
	card := modelCard(m)
	if got := card["training"]; !strings.HasPrefix(got, "unfinished: in the supervised phase at update 77 of 2000 + ") {
		t.Error(got)
	}
	if _, ok := card["credit"]; ok {
		t.Error("credit to nobody")
	}
}
