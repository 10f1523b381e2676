package compile

import (
	"slices"

	"github.com/planegym/planegym/traffic/packet"
)

// strictTCP and strictUDP are the ports below 32768, and the few above, whose
// dissector in tshark 4.0.17 finds neutral bytes malformed or warns: found by
// compiling sessions of several sizes to all 65,535 ports with Options.Neutral,
// which moves none, and reading what tshark -2 says of them.
var (
	strictTCP = []uint16{
		22, 37, 43, 79, 123, 161, 162, 199, 389, 500, 548, 639, 862, 873, 925, 988, 1102, 1153, 1521, 1723, 1861,
		1998, 2269, 2321, 2322, 2571, 2812, 2944, 3268, 3357, 3452, 3632, 3863, 4223, 4224, 4321, 4342, 4369,
		4551, 4555, 4556, 5010, 5094, 5555, 5683, 6160, 6666, 6668, 7911, 8023, 9300, 9600, 9956, 13400,
		19171, 29418, 34980,
	}
	strictUDP = []uint16{
		49, 67, 68, 69, 123, 137, 138, 173, 177, 213, 269, 319, 320, 389, 427, 434, 464, 496, 500, 513,
		520, 521, 524, 525, 546, 547, 664, 701, 854, 910, 921, 925, 1001, 1153, 1194, 1293, 1628, 1629,
		1718, 1719, 1745, 2048, 2055, 2222, 2246, 2269, 2313, 2345, 2428, 2944, 2945, 2948, 3000, 3130,
		3250, 3343, 3357, 3389, 3452, 3455, 3544, 3671, 3784, 3804, 3863, 4000, 4306, 4307, 4341, 4342,
		4465, 4500, 4551, 4555, 4556, 4569, 4729, 4739, 4754, 4784, 4789, 4790, 4791, 4991, 5001, 5031,
		5072, 5094, 5246, 5247, 5436, 5683, 6073, 6081, 6118, 6277, 6343, 6635, 6784, 6970, 7074, 7255,
		7275, 7784, 8200, 8211, 8600, 8611, 8612, 8613, 8614, 8767, 8805, 8848, 9200, 9214, 9414, 9875,
		9899, 9901, 9956, 9996, 10253, 11273, 12000, 12001, 12002, 12003, 12004, 12220, 12222, 12223,
		13400, 17220, 17755, 17756, 18246, 18299, 19132, 23272, 24576, 24577, 25475, 25826, 26000, 27500,
		27910, 27950, 27951, 27952, 27953, 27960, 27961, 27962, 27963, 34962, 34980, 37008, 41170, 44818,
		47000, 54328,
	}
)

// strictICMP are the types of ICMP messages, by version, whose dissector finds neutral bytes malformed or
// warns: found by compiling sessions of several sizes of all 256 types. Type 42 and 160, extended echo,
// are of checksums within the message (RFC 8335).
var strictICMP = [2][]uint8{
	{13, 14, 17, 18, 42},
	{130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140, 141, 142, 143, 145, 147, 148, 149, 150, 154, 155, 157, 158, 159, 160},
}

// echoRequest is what such a message becomes, by version.
var echoRequest = [2]uint16{8 << 8, 128 << 8}

// movedICMP is the type and code of an ICMP message whose dissector refuses neutral
// bytes: those of an echo request.
func movedICMP(v4 bool, icmp uint16) (uint16, bool) {
	version := 1
	if v4 {
		version = 0
	}
	if slices.Contains(strictICMP[version], uint8(icmp>>8)) {
		return echoRequest[version], true
	}
	return icmp, false
}

// moved is where a port goes whose dissector refuses neutral bytes: the next
// one above that does not.
func moved(proto uint8, port uint16) (uint16, bool) {
	list := strictUDP
	if proto == packet.TCP {
		list = strictTCP
	}
	to := port
	for {
		if _, strict := slices.BinarySearch(list, to); !strict {
			return to, to != port
		}
		if to++; to == 0 {
			to = 1024
		}
	}
}

// avoided reports whether a client's port is one that a dissector would take for
// a server's.
func avoided(port uint16) bool {
	_, t := slices.BinarySearch(strictTCP, port)
	_, u := slices.BinarySearch(strictUDP, port)
	return t || u
}
