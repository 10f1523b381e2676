package ws

import (
	_ "embed"
	"net/http"
)

// asyncAPI describes the protocol to tools, as AsyncAPI 3; a test holds it
// and the codec together.
//
//go:embed asyncapi.json
var asyncAPI []byte

func serveSpec(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/vnd.aai.asyncapi+json;version=3.0.0")
	_, _ = w.Write(asyncAPI)
}
