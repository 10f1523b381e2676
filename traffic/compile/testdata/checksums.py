"""Read a capture, let scapy compute every checksum and length anew, and count
the packets that are no longer the same."""
import logging
import sys

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import ICMP, IP, TCP, UDP, Ether, IPv6, PcapReader  # noqa: E402
from scapy.layers.inet6 import _ICMPv6  # noqa: E402

packets = differ = 0
for p in PcapReader(sys.argv[1]):
    packets += 1
    raw = bytes(p.original)
    q = Ether(raw)
    for layer in (IP, IPv6, TCP, UDP, ICMP):
        if layer in q:
            for field in ("chksum", "len", "plen", "ihl", "dataofs"):
                if field in q[layer].fields:
                    delattr(q[layer], field)
            if layer is TCP or layer is UDP or layer is ICMP:
                break
    x = q
    while x:
        if isinstance(x, _ICMPv6):
            del x.cksum
            break
        x = x.payload
    if bytes(Ether(bytes(q))) != raw:
        differ += 1
        if differ < 5:
            print(q.summary(), raw.hex()[:160], bytes(q).hex()[:160], sep="\n", file=sys.stderr)
print(f"{packets} packets, {differ} differ")
