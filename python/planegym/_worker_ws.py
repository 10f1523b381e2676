"""WebSocket from the server's side, as far as planegym's own clients need it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
from typing import IO, Any

from ._messages import SUBPROTOCOL as PROTOCOL
from ._ws import _GUID, CLOSE, CONTINUATION, PING, PONG, TEXT

MAX_REQUEST = 1 << 20


class GoneError(Exception):
    """The connection is over."""


class Wire:
    """A connection."""

    def __init__(self, sock: socket.socket, file: IO[bytes]) -> None:
        self.sock, self.file = sock, file
        self._upgrade()

    def _upgrade(self) -> None:
        head: dict[str, str] = {}
        first = self.file.readline(4096)
        for _ in range(100):
            line = self.file.readline(8192).decode("latin-1").strip()
            if not line:
                break
            key, _, value = line.partition(":")
            head[key.strip().lower()] = value.strip()
        key = head.get("sec-websocket-key", "")
        offered = [p.strip() for p in head.get("sec-websocket-protocol", "").split(",")]
        if not first.startswith(b"GET ") or not key or PROTOCOL not in offered:
            self.sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            raise GoneError
        accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()
        self.sock.sendall(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n".encode()
        )

    def exactly(self, n: int) -> bytes:
        got = self.file.read(n)
        if len(got) < n:
            raise GoneError
        return got

    def message(self) -> tuple[int, bytes]:
        """The next text or binary message; pings are answered on the way."""
        kind, size = 0, 0
        parts: list[bytes] = []
        while True:
            b0, b1 = self.exactly(2)
            opcode, length = b0 & 15, b1 & 127
            if length >= 126:
                length = int.from_bytes(self.exactly(2 if length == 126 else 8), "big")
            size += length if opcode < CLOSE else 0
            if (
                b0 & 0x70
                or not b1 & 0x80
                or size > MAX_REQUEST
                or (opcode >= CLOSE and length > 125)
            ):
                self.end(1009 if size > MAX_REQUEST else 1002)
            key = self.exactly(4)
            payload = _unmask(self.exactly(length), key)
            if opcode == CLOSE:
                self.end(1000)
            elif opcode == PING:
                self.send(PONG, payload)
            elif opcode != PONG:
                if (opcode == CONTINUATION) != bool(parts):
                    self.end(1002)
                kind = kind if parts else opcode
                parts.append(payload)
                if b0 & 0x80:
                    return kind, b"".join(parts)

    def send(self, opcode: int, payload: bytes) -> None:
        n = len(payload)
        if n < 126:
            head = bytes((0x80 | opcode, n))
        elif n < 1 << 16:
            head = bytes((0x80 | opcode, 126)) + n.to_bytes(2, "big")
        else:
            head = bytes((0x80 | opcode, 127)) + n.to_bytes(8, "big")
        self.sock.sendall(head + payload)

    def say(self, kind: str, **fields: Any) -> None:
        self.send(TEXT, json.dumps({"type": kind, **fields}, allow_nan=False).encode())

    def end(self, code: int) -> None:
        with contextlib.suppress(OSError):
            self.send(CLOSE, code.to_bytes(2, "big"))
        raise GoneError


def _unmask(payload: bytes, key: bytes) -> bytes:
    n = len(payload)
    mask = int.from_bytes((key * (n // 4 + 1))[:n], "little")
    return (int.from_bytes(payload, "little") ^ mask).to_bytes(n, "little")
