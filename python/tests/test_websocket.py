"""RFC 6455 as the client reads it, against frames written byte by byte."""

from __future__ import annotations

import random
import struct
import time

import pytest

from fake import BINARY, CLOSE, PING, PONG, TEXT, Conn, Fake, frame
from planegym import _ws


def dial(fake: Fake, timeout: float = 30.0) -> _ws.WebSocket:
    return _ws.connect(
        _ws.Address(fake.url), subprotocol="planegym.v1", headers={}, tls=None, timeout=timeout
    )


def take(ws: _ws.WebSocket) -> tuple[int, bytes]:
    opcode, start, end = ws.recv()
    return opcode, bytes(ws.buf[start:end])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 125, 126, 127, 1000, 65535, 65536, 300_000])
def test_echo(fake: Fake, size: int) -> None:
    payload = random.Random(size).randbytes(size)

    def echo(c: Conn) -> None:
        for _ in range(3):
            c.send(*c.message())

    fake.handlers = [echo]
    ws = dial(fake)
    for _ in range(3):
        ws.send(BINARY, payload)
        assert take(ws) == (BINARY, payload)
    ws.abort()


def test_keys_differ(fake: Fake) -> None:
    ws = dial(fake)
    keys = [ws.key() for _ in range(5000)]
    assert len(set(keys)) > 4990
    ws.abort()


# What arrives, and what it means: messages, or the code the client closes with.
CASES = {
    "pieces": (frame(TEXT, b"ab", fin=False) + frame(0, b"", fin=False) + frame(0, b"c"), [b"abc"]),
    "ping between pieces": (
        frame(BINARY, b"a" * 9, fin=False) + frame(PING, b"!") + frame(0, b"b") + frame(TEXT, b"c"),
        [b"a" * 9 + b"b", b"c"],
    ),
    "two pings, then data": (frame(PING) + frame(PING, b"x" * 125) + frame(TEXT, b"c"), [b"c"]),
    "unasked pong": (frame(PONG, b"?") + frame(TEXT, b"c"), [b"c"]),
    "long pieces": (
        frame(BINARY, b"a" * 70_000, fin=False) + frame(0, b"b" * 70_000) + frame(TEXT, b"c"),
        [b"a" * 70_000 + b"b" * 70_000, b"c"],
    ),
    "split letter": (
        frame(TEXT, b"\xc3", fin=False) + frame(0, b"\xbc"),
        ["ü".encode()],
    ),
    "reserved bit": (bytes([0xC1, 0]), 1002),
    "masked": (bytes([0x81, 0x80, 1, 2, 3, 4]), 1002),
    "opcode 3": (frame(3), 1002),
    "opcode 11": (frame(11), 1002),
    "long ping": (frame(PING, b"x" * 126), 1002),
    "split ping": (frame(PING, b"", fin=False), 1002),
    "continuation first": (frame(0, b"x"), 1002),
    "message within message": (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
    "length 5 in 16 bits": (bytes([0x81, 126, 0, 5]) + b"hello", 1002),
    "length 200 in 64 bits": (bytes([0x81, 127]) + struct.pack(">Q", 200) + b"x" * 200, 1002),
    "length 2**63": (bytes([0x81, 127]) + struct.pack(">Q", 1 << 63), 1002),
    "too long": (bytes([0x82, 127]) + struct.pack(">Q", 1 << 40), 1009),
    "too long in pieces": (
        frame(BINARY, b"x", fin=False) + bytes([0x80, 127]) + struct.pack(">Q", 17 << 20),
        1009,
    ),
    "no UTF-8": (frame(TEXT, b"\xff"), 1007),
    "no UTF-8 in pieces": (frame(TEXT, b"\xc3", fin=False) + frame(0, b"("), 1007),
    "surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "close of one byte": (frame(CLOSE, b"\x03"), 1002),
    "close 1005": (frame(CLOSE, struct.pack(">H", 1005)), 1002),
    "close 999": (frame(CLOSE, struct.pack(">H", 999)), 1002),
    "close 5000": (frame(CLOSE, struct.pack(">H", 5000)), 1002),
    "close, no UTF-8": (frame(CLOSE, struct.pack(">H", 1000) + b"\xff"), 1007),
}

PONGS = {"ping between pieces": [b"!"], "two pings, then data": [b"", b"x" * 125]}


@pytest.mark.parametrize(
    ("name", "chop"),
    [(name, 0) for name in CASES] + [(n, 1) for n, (data, _) in CASES.items() if len(data) < 1000],
)
def test_frames(fake: Fake, name: str, chop: int) -> None:
    data, want = CASES[name]
    answers = []

    def handler(c: Conn) -> None:
        for i in range(0, len(data), chop or len(data)):
            c.raw(data[i : i + (chop or len(data))])
        while True:
            answers.append(c.frame())

    fake.handlers = [handler]
    ws = dial(fake)
    if isinstance(want, list):
        for payload in want:
            assert take(ws)[1] == payload
        ws.close(0.01)
        fake.wait()
        assert [p for o, p in answers if o == PONG] == PONGS.get(name, [])
        return
    with pytest.raises(_ws.ViolationError) as e:
        while True:
            take(ws)
    assert e.value.code == want
    assert ws.closed
    fake.wait()
    if not chop:  # else it may still be sending when the connection goes
        assert answers == [(CLOSE, struct.pack(">H", want))]


@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [(b"", 1005, ""), (struct.pack(">H", 1001) + b"bye", 1001, "bye"), (b"\x11\x94", 4500, "")],
)
def test_close(fake: Fake, payload: bytes, code: int, reason: str) -> None:
    answers = []

    def handler(c: Conn) -> None:
        c.send(CLOSE, payload)
        answers.append(c.frame())

    fake.handlers = [handler]
    ws = dial(fake)
    with pytest.raises(_ws.ClosedByPeerError) as e:
        ws.recv()
    assert (e.value.code, e.value.reason) == (code, reason)
    fake.wait()
    assert answers == [(CLOSE, payload[:2])]


def test_timeout_within_a_frame(fake: Fake) -> None:
    """What came before the timeout is not lost, wherever it struck."""
    data = frame(BINARY, b"x" * 300) + frame(TEXT, b"end")

    def handler(c: Conn) -> None:
        for cut in (0, 1, 3, 4, 100, 304, 306, len(data)):
            c.raw(data[handler.at : cut])
            handler.at = cut
            c.frame()

    handler.at = 0
    fake.handlers = [handler]
    ws = dial(fake)
    ws.settimeout(0.05)
    got = []
    waits = 0
    while len(got) < 2:
        try:
            got.append(take(ws))
        except _ws.WaitError:
            waits += 1
            ws.send(PONG, b"")  # more, please
    assert got == [(BINARY, b"x" * 300), (TEXT, b"end")]
    assert waits >= 6
    ws.abort()


def test_timeout_of_a_dribble(fake: Fake) -> None:
    """A byte now and then does not stretch the timeout."""

    def handler(c: Conn) -> None:
        c.raw(bytes([0x82, 126, 1, 0]))
        while True:
            c.raw(b"x")
            time.sleep(0.02)

    fake.handlers = [handler]
    ws = dial(fake)
    ws.settimeout(0.1)
    begin = time.monotonic()
    ws.begin()
    with pytest.raises(_ws.WaitError):
        ws.recv()
    assert time.monotonic() - begin < 2
    ws.abort()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", _ws.RefusedError),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", _ws.WebSocketError),
        (b"SSH-2.0-OpenSSH_9.9\r\n", _ws.WebSocketError),
        (b"HTTP/1.1 abc\r\n\r\n", _ws.WebSocketError),
        (b"HTTP/1.1 101 X\r\n" + b"a: b\r\n" * 20_000, _ws.WebSocketError),
        (b"", _ws.WebSocketError),
    ],
)
def test_handshake_refused(fake: Fake, answer: bytes, error: type[Exception]) -> None:
    fake.upgrade = answer
    with pytest.raises(error):
        dial(fake)


def test_frames_behind_the_handshake(fake: Fake) -> None:
    """The server may speak in the same segment as its 101."""
    fake.behind = frame(TEXT, b"first") + frame(TEXT, b"second")[:3]
    fake.handlers = [lambda c: c.raw(frame(TEXT, b"second")[3:])]
    ws = dial(fake)
    assert [take(ws), take(ws)] == [(TEXT, b"first"), (TEXT, b"second")]
    ws.abort()


@pytest.mark.parametrize(
    "url",
    ["http://x", "ws://", "x", "unix://a/b", "ws://user:pw@x", "ws://x/?token=1", "unix:"],
)
def test_bad_url(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        _ws.Address(url)


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "header"),
    [
        ("ws://a", "a", 7070, "/v1/ws", "a:7070"),
        ("ws://a:80/x", "a", 80, "/x", "a"),
        ("wss://a", "a", 443, "/v1/ws", "a"),
        ("wss://[::1]:9/", "::1", 9, "/v1/ws", "[::1]:9"),
    ],
)
def test_url(url: str, host: str, port: int, path: str, header: str) -> None:
    a = _ws.Address(url)
    assert (a.host, a.port, a.path, a.host_header()) == (host, port, path, header)
