package ptxvm

import (
	"fmt"
	"strings"
)

// SyntaxError is what is wrong with a line of PTX.
type SyntaxError struct {
	Line   int    // from 1
	Kernel string // "" outside of one
	Msg    string
}

func (e *SyntaxError) Error() string {
	if e.Kernel == "" {
		return fmt.Sprintf("ptx: line %d: %s", e.Line, e.Msg)
	}
	return fmt.Sprintf("ptx: line %d: kernel %s: %s", e.Line, e.Kernel, e.Msg)
}

// token is a word, a number or one character of punctuation.
type token struct {
	text string
	line int
}

// lex cuts PTX into tokens; comments and strings' insides go. NVIDIA's
// assembler takes no character beyond ASCII even in those.
func lex(src string) ([]token, error) {
	toks := make([]token, 0, len(src)/4)
	line := 1
	for i := range len(src) {
		if src[i] >= 0x80 {
			return nil, &SyntaxError{Line: 1 + strings.Count(src[:i], "\n"), Msg: "a character that is not ASCII"}
		}
	}
	word := func(c byte) bool {
		return c == '_' || c == '$' || c == '%' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	for i := 0; i < len(src); {
		c := src[i]
		switch {
		case c == '\n':
			line++
			i++
		case c == ' ' || c == '\t' || c == '\r':
			i++
		case strings.HasPrefix(src[i:], "//"):
			for i < len(src) && src[i] != '\n' {
				i++
			}
		case strings.HasPrefix(src[i:], "/*"):
			n := strings.Index(src[i:], "*/")
			if n < 0 {
				return nil, &SyntaxError{Line: line, Msg: "comment has no end"}
			}
			line += strings.Count(src[i:i+n], "\n")
			i += n + 2
		case c == '"':
			n := strings.IndexAny(src[i+1:], "\"\n")
			if n < 0 || src[i+1+n] == '\n' {
				return nil, &SyntaxError{Line: line, Msg: "string has no end"}
			}
			toks = append(toks, token{`"`, line})
			i += n + 2
		case word(c):
			j := i + 1
			for j < len(src) {
				if word(src[j]) {
					j++
				} else if strings.HasPrefix(src[j:], "::") { // ld.shared::cta
					j += 2
				} else {
					break
				}
			}
			toks = append(toks, token{src[i:j], line})
			i = j
		case strings.IndexByte(",;:{}[]()<>+-@!|=", c) >= 0:
			toks = append(toks, token{src[i : i+1], line})
			i++
		default:
			return nil, &SyntaxError{Line: line, Msg: fmt.Sprintf("character %q", c)}
		}
	}
	return toks, nil
}
