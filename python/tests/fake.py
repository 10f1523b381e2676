"""A server on a socket that says what a test wants, well-formed or not.

Its WebSocket is written apart from the client's, plainly, so that one checks
the other.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A server frame."""
    n = len(payload)
    if n < 126:
        size = bytes([n])
    elif n < 65536:
        size = bytes([126]) + struct.pack(">H", n)
    else:
        size = bytes([127]) + struct.pack(">Q", n)
    return bytes([opcode | (0x80 if fin else 0)]) + size + payload


class GoneError(Exception):
    """The client hung up."""


class Conn:
    """A connection of a client, after the upgrade."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.closed_with = b""  # payload of the client's close frame

    def exactly(self, n: int) -> bytes:
        got = b""
        while len(got) < n:
            try:
                part = self.sock.recv(n - len(got))
            except OSError:
                raise GoneError from None
            if not part:
                raise GoneError
            got += part
        return got

    def frame(self) -> tuple[int, bytes]:
        """The next frame, unmasked."""
        b0, b1 = self.exactly(2)
        assert b0 & 0x80, "the client fragments nothing"
        assert b0 & 0x70 == 0, "reserved bits"
        assert b1 & 0x80, "a client masks"
        n = b1 & 127
        if n == 126:
            (n,) = struct.unpack(">H", self.exactly(2))
            assert n > 125
        elif n == 127:
            (n,) = struct.unpack(">Q", self.exactly(8))
            assert n > 65535
        mask = self.exactly(4)
        masked = self.exactly(n)
        return b0 & 15, bytes(b ^ mask[i % 4] for i, b in enumerate(masked))

    def message(self) -> tuple[int, bytes]:
        """The next text or binary message; pongs are passed over."""
        while True:
            opcode, payload = self.frame()
            if opcode == CLOSE:
                self.closed_with = payload
                raise GoneError
            if opcode in (TEXT, BINARY):
                return opcode, payload

    def json(self) -> dict[str, Any]:
        opcode, payload = self.message()
        assert opcode == TEXT, payload
        return json.loads(payload)

    def send(self, opcode: int, payload: bytes = b"") -> None:
        self.raw(frame(opcode, payload))

    def say(self, kind: str, **fields: Any) -> None:
        self.send(TEXT, json.dumps({"type": kind, **fields}).encode())

    def raw(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            raise GoneError from None

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class Fake:
    """Accepts connections and runs handlers on them, the last one for ever."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self.listener.getsockname()[1]}"
        self.handlers: list[Callable[[Conn], None]] = []
        self.upgrade: bytes | None = None  # in place of the 101
        self.behind = b""  # sent in one piece with the 101
        self.requests: list[str] = []  # HTTP heads
        self.errors: list[BaseException] = []  # of handlers
        self.accepted = 0
        self._threads: list[threading.Thread] = []
        self._conns: list[Conn] = []

    def __enter__(self) -> Fake:
        self._accepter = threading.Thread(target=self._accept)
        self._accepter.start()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.stop()
        if error is None and self.errors:
            raise self.errors[0]

    def wait(self) -> None:
        """Until the handlers have ended by themselves."""
        for t in self._threads:
            t.join(10)

    def stop(self) -> None:
        """No connection from now on, and the end of those there are."""
        with contextlib.suppress(OSError):  # wakes accept
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._accepter.join()
        for c in self._conns:
            c.hang_up()
        for t in self._threads:
            t.join()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            conn = Conn(sock)
            self._conns.append(conn)
            at = min(self.accepted, len(self.handlers) - 1)
            self.accepted += 1
            t = threading.Thread(
                target=self._run, args=(conn, self.handlers[at] if at >= 0 else None)
            )
            self._threads.append(t)
            t.start()

    def _run(self, conn: Conn, handler: Callable[[Conn], None] | None) -> None:
        try:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += conn.exactly(1)
            self.requests.append(head.decode())
            if self.upgrade is not None:
                conn.raw(self.upgrade)
            else:
                conn.raw(switch(head) + self.behind)
                if handler:
                    handler(conn)
        except GoneError:
            pass
        except BaseException as e:
            self.errors.append(e)
        finally:
            conn.hang_up()


def switch(head: bytes, subprotocol: str = "planegym.v1") -> bytes:
    """The 101 that answers a request."""
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
    guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    key = hashlib.sha1((fields["Sec-WebSocket-Key"] + guid).encode()).digest()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {base64.b64encode(key).decode()}\r\n"
        f"Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    ).encode()


# --- a whole environment


class Counter:
    """An environment of n rows whose observation is [row, steps, sum of actions]
    and whose episode is terminated after `length` steps. It keeps replies, so
    that a session can be resumed; it counts how often a step was executed.
    """

    def __init__(self, *, length: int = 10, resume: bool = True) -> None:
        self.length, self.token = length, "secret" if resume else ""
        self.n, self.accepted, self.executed = 0, 0, 0
        self.replies: dict[int, tuple[int, bytes]] = {}
        self.on_reply: Callable[[Conn, int], bool] = lambda conn, seq: True
        self.on_request: Callable[[Conn, int], bool] = lambda conn, seq: True

    def __call__(self, conn: Conn) -> None:
        hello = conn.json()
        about = {"server": "fake/1", "versions": [1], "capabilities": [], "limits": {}}
        if hello["type"] == "resume":
            assert hello["token"] == self.token
            conn.say("resumed", id=0, session="s", accepted=self.accepted, **about)
            for seq in sorted(self.replies):
                if seq > hello["last_seq"]:
                    conn.send(*self.replies[seq])
        else:
            conn.say("welcome", id=hello["id"], session="s", resume_token=self.token, **about)
        while True:
            opcode, m = conn.message()
            seq = json.loads(m)["id"] if opcode == TEXT else struct.unpack_from("<Q", m, 16)[0]
            if seq <= self.accepted:
                conn.send(*self.replies[seq])
                continue
            assert seq == self.accepted + 1, f"{seq} after {self.accepted}"
            if not self.on_request(conn, seq):
                raise GoneError
            self.accepted = seq
            reply = self.text(json.loads(m)) if opcode == TEXT else self.binary(m)
            self.replies[seq] = reply
            if not self.on_reply(conn, seq):
                raise GoneError
            conn.send(*reply)

    def text(self, m: dict[str, Any]) -> tuple[int, bytes]:
        if m["type"] == "make":
            self.n = m["num_envs"]
            self.rows = [[float(i), 0.0, 0.0] for i in range(self.n)]
            space = {"type": "box", "dtype": "float32", "shape": [3], "low": ["-inf"] * 3}
            reply = {
                "type": "made",
                "env": 1,
                "observation_space": {**space, "high": ["inf"] * 3},
                "action_space": {"type": "multi_discrete", "dtype": "int32", "n": [5]},
                "info_fields": [],
                "in_flight": 64,
            }
        else:
            reply = {"type": "closed"}
        return TEXT, json.dumps({"id": m["id"], **reply}).encode()

    def binary(self, m: bytes) -> tuple[int, bytes]:
        _, kind, flags, env, n, _, seq = struct.unpack_from("<BBHIIIQ", m)
        at = 32 + (8 * n if flags & 16 else 0)
        which = range(self.n)
        if flags & 1:
            which = struct.unpack_from(f"<{n}I", m, at)
            at += 4 * n
        over = []
        if kind == 3:
            for i in which:
                self.rows[i][1:] = [0.0, 0.0]
        else:
            self.executed += 1
            for i, a in zip(which, struct.unpack_from(f"<{n}i", m, at), strict=True):
                self.rows[i][1] += 1
                self.rows[i][2] += a
        for i in which:
            over.append(int(kind == 1 and self.rows[i][1] >= self.length))
        obs = b"".join(struct.pack("<3f", *self.rows[i]) for i in which)
        pad = bytes(-n % 4)
        body = obs + struct.pack(f"<{n}f", *[float(kind == 1)] * n)
        body += bytes(over) + pad + bytes(n) + pad
        return BINARY, struct.pack("<BBHIIIQ", 1, kind + 1, flags & 1, env, n, 0, seq) + body
