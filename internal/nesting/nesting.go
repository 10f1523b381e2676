// Package nesting refuses TOML and JSON whose depth makes decoding expensive.
// The decoders that we use need time beyond the square of the depth, so depth
// is checked by one pass over the text before anything is decoded.
package nesting

import (
	"errors"
	"fmt"
)

// Max is how deep a text may nest, and how many parts a dotted TOML key may
// have.
const Max = 16

// ErrTooDeep is the error of a text that nests deeper than Max.
var ErrTooDeep = errors.New("nested too deeply")

// JSON reports whether text nests deeper than Max. It checks nothing else: text
// that is not JSON is left to the decoder.
func JSON(text []byte) error {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = skip(text, i+1, '"', true)
		case '[', '{':
			if depth++; depth > Max {
				return fmt.Errorf("%w: more than %d levels at byte %d", ErrTooDeep, Max, i)
			}
		case ']', '}':
			depth--
		}
	}
	return nil
}

// TOML reports whether text nests deeper than Max, or has a key of more than
// Max parts. It checks nothing else: text that is not TOML is left to the
// decoder.
func TOML(text []byte) error {
	depth, dots, line := 0, 0, 1
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '#':
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		case '"', '\'':
			from := i
			if i+2 < len(text) && text[i+1] == c && text[i+2] == c {
				i = skipLong(text, i+3, c)
			} else {
				i = skip(text, i+1, c, c == '"')
			}
			for _, b := range text[from:min(i, len(text))] {
				if b == '\n' {
					line++
				}
			}
		case '[', '{':
			dots = 0
			if depth++; depth > Max {
				return fmt.Errorf("%w: line %d: more than %d levels", ErrTooDeep, line, Max)
			}
		case ']', '}':
			dots = 0
			depth = max(depth-1, 0)
		case '=', ',':
			dots = 0
		case '\n':
			dots = 0
			line++
		case '.':
			if dots++; dots >= Max {
				return fmt.Errorf("%w: line %d: a key of more than %d parts", ErrTooDeep, line, Max)
			}
		}
	}
	return nil
}

// skip is the index of the quote that ends a string on one line, or of its last
// byte.
func skip(text []byte, i int, quote byte, escapes bool) int {
	for ; i < len(text) && text[i] != quote; i++ {
		switch {
		case escapes && text[i] == '\\':
			i++
		case text[i] == '\n': // unterminated
			return i
		}
	}
	return i
}

// skipLong is the index of the last of the three quotes that end a string of
// several lines.
func skipLong(text []byte, i int, quote byte) int {
	for ; i < len(text); i++ {
		switch {
		case quote == '"' && text[i] == '\\':
			i++
		case text[i] == quote && i+2 < len(text) && text[i+1] == quote && text[i+2] == quote:
			i += 2
			for i+1 < len(text) && text[i+1] == quote { // up to two quotes belong to the string
				i++
			}
			return i
		}
	}
	return i
}
