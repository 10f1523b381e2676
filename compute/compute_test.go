package compute

import "testing"

func TestParseKernels(t *testing.T) {
	for _, k := range Available() {
		if got, err := ParseKernels(k.String()); err != nil || got != k {
			t.Errorf("ParseKernels(%q) = %v, %v", k, got, err)
		}
	}
	if k, err := ParseKernels("auto"); err != nil || k == Reference {
		t.Errorf("auto: %v, %v", k, err)
	}
	if _, err := ParseKernels("sse"); err == nil {
		t.Error("sse parsed")
	}
}
