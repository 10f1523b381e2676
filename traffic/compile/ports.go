package compile

// moved is where a port goes whose dissector refuses neutral bytes.
func moved(proto uint8, port uint16) (uint16, bool) { return port, false }
