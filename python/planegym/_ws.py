"""A WebSocket client (RFC 6455) over blocking sockets of the standard library.

It does what planegym.v1 needs and no more: no extensions, no compression, one
reader and one writer, who are the same thread. Received messages lie in one
buffer that is reused; a timeout leaves the buffer as it is, so that the next
call goes on where the last stopped.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

DEFAULT_PORT = 7070
DEFAULT_PATH = "/v1/ws"
MAX_MESSAGE = (16 << 20) + (64 << 10)  # a reply is at most 16 MiB
_MAX_HANDSHAKE = 64 << 10
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocketError(Exception):
    """The connection is over or never came to be."""


class WaitError(Exception):
    """Nothing in time; the connection is as it was."""


class ClosedByPeerError(WebSocketError):
    """The other end closed; code is 1006 where it just went away."""

    def __init__(self, code: int, reason: str) -> None:
        self.code, self.reason = code, reason
        super().__init__(f"connection closed ({code}{': ' + reason if reason else ''})")


class ViolationError(WebSocketError):
    """The other end broke RFC 6455."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message)


class RefusedError(WebSocketError):
    """The server answered the upgrade with something else than 101."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.reason, self.headers, self.body = status, reason, headers, body
        super().__init__(f"HTTP {status} {reason}")


class Address:
    """Where a URL points: ws://, wss:// or unix:///path/of/socket."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url = url
        self.tls = parts.scheme == "wss"
        self.unix = ""
        self.host, self.port, self.path = "localhost", 0, DEFAULT_PATH
        if parts.scheme == "unix":
            self.unix = unquote(parts.path)
            if parts.netloc or not self.unix:
                raise ValueError(f"url {url!r}: a unix socket is unix:///path/of/socket")
        elif parts.scheme in ("ws", "wss"):
            if not parts.hostname:
                raise ValueError(f"url {url!r} names no host: say {parts.scheme}://host:port")
            if parts.username is not None or parts.query:
                raise ValueError(f"url {url!r}: credentials never go into a URL, pass token=")
            self.host = parts.hostname
            self.port = parts.port or (443 if self.tls else DEFAULT_PORT)
            if parts.path not in ("", "/"):
                self.path = parts.path
        else:
            raise ValueError(f"url {url!r}: want ws://host:port, wss://host or unix:///path")

    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            host if self.unix or self.port == (443 if self.tls else 80) else f"{host}:{self.port}"
        )


class WebSocket:
    """A connection after its handshake.

    recv gives ``(opcode, start, end)`` of a whole message in ``buf``, valid
    until the next recv. Pings are answered on the way.
    """

    def __init__(self, sock: socket.socket, base: int = 4) -> None:
        self._sock = sock
        self._timeout: float | None = None
        self._deadline: float | None = None  # of the wait that began last
        self._waited = False  # whether that wait has read something
        # Kernel timeouts leave the socket blocking: Python's own cost a poll
        # before each call. TLS cannot tell them from a real end.
        self._kernel_timeout = not isinstance(sock, ssl.SSLSocket) and sys.platform != "win32"
        self.buf = bytearray(64 << 10)
        self._view = memoryview(self.buf)
        self.rebase(base)
        self.head = self.tail = base  # of what has been received but not given out
        self._lock = threading.Lock()  # of every write
        self._keys: list[int] = []
        self._close_sent = False

    def rebase(self, base: int) -> None:
        """Have what is received while nothing waits lie at base, from the next such time on."""
        self.base = base
        self._ahead = self._view[base:]

    # --- sending

    def key(self) -> int:
        """A fresh masking key, its four bytes little-endian on the wire."""
        if not self._keys:  # a system call for 1,024 keys
            self._keys = memoryview(os.urandom(4096)).cast("I").tolist()
        return self._keys.pop()

    def sendall(self, frame: bytes | bytearray | memoryview) -> None:
        """Write a frame that is masked already. A timeout ends the connection,
        for part of the frame may be gone."""
        try:
            with self._lock:
                self._sock.sendall(frame)
        except (BlockingIOError, TimeoutError) as e:
            self.abort()
            raise WebSocketError("sending timed out: the server reads nothing") from e
        except OSError as e:
            self.abort()
            raise WebSocketError(f"sending failed: {e}") from e
        except BaseException:  # Ctrl-C
            self.abort()
            raise

    def send(self, opcode: int, payload: bytes) -> None:
        """Frame, mask and write one message."""
        self.sendall(frame(opcode, payload, self.key()))

    def keepalive(self) -> None:
        """Write an unasked pong; any thread may. A thread that is writing already
        serves as well."""
        if self._lock.acquire(blocking=False):
            try:
                self._sock.sendall(frame(PONG, b"", int.from_bytes(os.urandom(4), "little")))
            except OSError:
                pass  # the next call of the owner finds out
            finally:
                self._lock.release()

    # --- receiving

    def settimeout(self, seconds: float | None) -> None:
        """How long a wait (see begin), or one write, may take; None is for ever."""
        if seconds == self._timeout:
            return
        if seconds is not None and not seconds > 0:
            raise ValueError(f"timeout: {seconds!r} is not above 0 seconds")
        self._timeout = seconds
        self._patience(seconds)

    def _patience(self, seconds: float | None) -> None:
        """Set the socket's own timeout."""
        if self._sock.fileno() < 0:
            return
        if self._kernel_timeout:
            micro = 0 if seconds is None else max(1, round(seconds * 1e6))
            value = struct.pack("ll", micro // 1_000_000, micro % 1_000_000)
            self._sock.settimeout(None)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
        else:
            self._sock.settimeout(seconds)

    def begin(self) -> None:
        """A wait begins: all reads until the next begin share one timeout, so
        that pings, events and trickling bytes do not prolong it."""
        self._deadline = None if self._timeout is None else time.monotonic() + self._timeout
        self._waited = False

    def took(self, begin: bytes, size: int) -> bool:
        """Whether a frame of this beginning and size, its head included, lies whole
        at base; it counts as received then. Waits while there is nothing."""
        base = self.base
        if self.head == self.tail:
            self.head = self.tail = base
            self._read(self._ahead)
        if self.head == base and self.tail - base >= size and self.buf.startswith(begin, base):
            self.head = base + size
            return True
        return False

    def recv(self) -> tuple[int, int, int]:
        """The next TEXT or BINARY message."""
        if self.head == self.tail:
            self.head = self.tail = self.base
            self._read(self._ahead)
        buf = self.buf
        at = self.head
        if buf[at] == 0x80 | BINARY and self.tail - at >= 4:  # the usual case, quickly
            length, begin = buf[at + 1], at + 2
            if length == 126:
                length, begin = buf[at + 2] << 8 | buf[at + 3], at + 4
            if (length < 126) == (begin - at == 2) and begin + length <= self.tail:
                self.head = begin + length
                return BINARY, begin, begin + length
        start, kind, size = -1, 0, 0  # of a fragmented message: payload so far
        at = self.head  # of the frame being read
        while True:
            # buf[head:at] is the fragmented message so far, buf[at:tail] new.
            header = 2
            at = self._need(at, header)
            buf = self.buf
            b0, b1 = buf[at], buf[at + 1]
            length = b1 & 0x7F
            opcode = b0 & 0x0F
            if b0 & 0x70:
                self._fail(1002, "a frame has reserved bits set")
            if b1 & 0x80:
                self._fail(1002, "a frame of the server is masked")
            if length == 126:
                header = 4
                at = self._need(at, header)
                buf = self.buf
                length = buf[at + 2] << 8 | buf[at + 3]
                if length < 126:
                    self._fail(1002, "a length is not in its shortest form")
            elif length == 127:
                header = 10
                at = self._need(at, header)
                buf = self.buf
                length = int.from_bytes(buf[at + 2 : at + 10], "big")
                if length < 1 << 16 or length >> 63:
                    self._fail(1002, "a length is not in its shortest form")
            if opcode >= 8:
                if length > 125 or not b0 & 0x80:
                    self._fail(1002, "a control frame is fragmented or longer than 125 bytes")
            elif size + length > MAX_MESSAGE:
                self._fail(1009, f"a message is longer than {MAX_MESSAGE} bytes")
            at = self._need(at, header + length)
            buf = self.buf
            begin, end = at + header, at + header + length
            if opcode >= 8:
                payload = bytes(buf[begin:end])
                if start < 0:
                    self.head = end
                at = end if start < 0 else self._cut(at, end)
                self._control(opcode, payload)
                if start < 0 and self.head == self.tail:
                    at = self.head = self.tail = self.base
                continue
            if start < 0:
                if opcode not in (TEXT, BINARY):
                    self._fail(1002, f"a message begins with opcode {opcode}")
                if b0 & 0x80:  # the usual case: a message is one frame
                    self.head = end
                    if opcode == TEXT:
                        self._check_text(begin, end)
                    return opcode, begin, end
                # From here on buf[head:] is the payload so far, then frames.
                self.head = start = begin
                kind, size, at = opcode, length, end
                continue
            if opcode != CONTINUATION:
                self._fail(1002, "a new message begins inside a fragmented one")
            at = self._cut(at, begin) + length
            size += length
            if b0 & 0x80:
                begin, end = self.head, self.head + size
                self.head = end
                if kind == TEXT:
                    self._check_text(begin, end)
                return kind, begin, end

    def _cut(self, begin: int, end: int) -> int:
        """Drop buf[begin:end]; what follows moves down."""
        self._view[begin : begin + self.tail - end] = bytes(self._view[end : self.tail])
        self.tail -= end - begin
        return begin

    def _need(self, at: int, size: int) -> int:
        """Read until size bytes lie at at. What begins at head may move: the
        new place of at is returned."""
        want = at + size
        if want <= self.tail:
            return at
        if want > len(self.buf):
            at = self._room(at, size)
            want = at + size
        while self.tail < want:
            self._read(self._view[self.tail :])
        return at

    def _read(self, into: memoryview) -> None:
        """What is there, into the view of all behind tail; waits while there is nothing."""
        try:
            if self._waited and self._deadline is not None:
                n = self._read_before(self._deadline, into)
            else:
                self._waited = True
                n = self._sock.recv_into(into)
        except (BlockingIOError, TimeoutError):
            raise WaitError from None
        except OSError as e:
            self.abort()
            raise ClosedByPeerError(1006, str(e)) from e
        if n == 0:
            self.abort()
            raise ClosedByPeerError(1006, "the server went away")
        self.tail += n

    def _read_before(self, deadline: float, into: memoryview) -> int:
        """recv_into with what is left of the timeout."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise WaitError
        self._patience(left)
        try:
            return self._sock.recv_into(into)
        finally:
            self._patience(self._timeout)

    def _room(self, at: int, size: int) -> int:
        """Make room for size bytes at at: by moving down what begins at head,
        by a larger buffer where that is not enough."""
        held, offset = self.tail - self.head, at - self.head
        if self.base + offset + size > len(self.buf):
            grown = bytearray(max(2 * len(self.buf), self.base + offset + size))
            grown[self.base : self.base + held] = self._view[self.head : self.tail]
            self.buf, self._view = grown, memoryview(grown)
            self.rebase(self.base)
        else:
            self._view[self.base : self.base + held] = bytes(self._view[self.head : self.tail])
        self.head, self.tail = self.base, self.base + held
        return self.base + offset

    def _check_text(self, begin: int, end: int) -> None:
        try:
            str(self._view[begin:end], "utf-8")
        except UnicodeDecodeError:
            self._fail(1007, "a text message is not UTF-8")

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.send(PONG, payload)
        elif opcode == CLOSE:
            code, reason = 1005, ""
            if len(payload) == 1:
                self._fail(1002, "a close frame of one byte")
            if payload:
                code = int.from_bytes(payload[:2], "big")
                try:
                    reason = payload[2:].decode()
                except UnicodeDecodeError:
                    self._fail(1007, "a close reason is not UTF-8")
                if not (3000 <= code <= 4999 or code in _CLOSE_CODES):
                    self._fail(1002, f"close code {code}")
            self._say_close(payload[:2])
            self.abort()
            raise ClosedByPeerError(code, reason)
        elif opcode != PONG:
            self._fail(1002, f"unknown opcode {opcode}")

    # --- ending

    def _fail(self, code: int, message: str) -> None:
        self._say_close(code.to_bytes(2, "big"))
        self.abort()
        raise ViolationError(code, message)

    def _say_close(self, payload: bytes) -> None:
        if self._close_sent:
            return
        self._close_sent = True
        try:
            with self._lock:
                self._sock.sendall(frame(CLOSE, payload, self.key()))
        except OSError:
            pass

    def close(self, linger: float = 1.0) -> None:
        """Say goodbye, wait a moment for the answer, hang up."""
        if self._sock.fileno() < 0:
            return
        self._say_close((1000).to_bytes(2, "big"))
        deadline = time.monotonic() + linger
        try:
            while (left := deadline - time.monotonic()) > 0:
                self.settimeout(left)
                self.begin()
                self.recv()
        except (WebSocketError, WaitError, OSError):
            pass
        self.abort()

    def abort(self) -> None:
        """Hang up at once."""
        with contextlib.suppress(OSError):
            self._sock.close()

    @property
    def closed(self) -> bool:
        return self._sock.fileno() < 0


_CLOSE_CODES = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))


def frame(opcode: int, payload: bytes, key: int) -> bytes:
    """One final client frame."""
    n = len(payload)
    pad = -n % 4
    words = int.from_bytes(payload, "little")
    mask = int.from_bytes(key.to_bytes(4, "little") * ((n + pad) // 4), "little")
    masked = (words ^ mask).to_bytes(n + pad, "little")[:n]
    return frame_header(opcode, n) + key.to_bytes(4, "little") + masked


def frame_header(opcode: int, length: int) -> bytes:
    """The frame head in front of the masking key: 2, 4 or 10 bytes."""
    if length < 126:
        return bytes((0x80 | opcode, 0x80 | length))
    if length < 1 << 16:
        return struct.pack(">BBH", 0x80 | opcode, 0x80 | 126, length)
    return struct.pack(">BBQ", 0x80 | opcode, 0x80 | 127, length)


def connect(
    address: Address,
    *,
    subprotocol: str,
    headers: Mapping[str, str],
    tls: ssl.SSLContext | None,
    timeout: float,
) -> WebSocket:
    """Dial and upgrade. Errors: OSError where nothing answers, RefusedError where
    the answer is not 101, WebSocketError where it is not HTTP."""
    if address.unix:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            sock.connect(address.unix)
        except BaseException:
            sock.close()
            raise
    else:
        sock = socket.create_connection((address.host, address.port), timeout=timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if address.tls:
            context = tls or ssl.create_default_context()
            sock = context.wrap_socket(sock, server_hostname=address.host)
        rest = _upgrade(sock, address, subprotocol, headers, time.monotonic() + timeout)
        sock.settimeout(None)
        ws = WebSocket(sock)
        ws._view[ws.tail : ws.tail + len(rest)] = rest
        ws.tail += len(rest)
        ws.settimeout(timeout)
        return ws
    except TimeoutError as e:
        sock.close()
        raise WebSocketError(f"no answer to the upgrade within {timeout} s") from e
    except BaseException:
        sock.close()
        raise


def _upgrade(
    sock: socket.socket,
    address: Address,
    subprotocol: str,
    headers: Mapping[str, str],
    deadline: float,
) -> bytes:
    """The HTTP half of the handshake; gives what arrived behind it."""
    key = base64.b64encode(os.urandom(16))
    lines = [
        f"GET {address.path} HTTP/1.1",
        f"Host: {address.host_header()}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key.decode()}",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Protocol: {subprotocol}",
    ]
    for name, value in headers.items():
        if "\r" in value or "\n" in value:
            raise ValueError(f"header {name}: a line break in its value")
        lines.append(f"{name}: {value}")
    sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    got = b""

    def more() -> bytes:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        return sock.recv(4096)

    while b"\r\n\r\n" not in got:
        part = more()
        if not part:
            raise WebSocketError("the other end hung up during the handshake")
        got += part
        if not b"HTTP/1.".startswith(got[:7]) or len(got) > _MAX_HANDSHAKE:
            raise WebSocketError("the other end does not speak HTTP")
    head, _, rest = got.partition(b"\r\n\r\n")
    status_line, *fields = head.decode("latin-1").split("\r\n")
    words = status_line.split(" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        raise WebSocketError(f"the other end does not speak HTTP: {status_line[:80]!r}")
    status, reason = int(words[1]), words[2] if len(words) > 2 else ""
    answer: dict[str, str] = {}
    for field in fields:
        name, _, value = field.partition(":")
        answer[name.strip().lower()] = value.strip()
    if status != 101:
        length = answer.get("content-length", "")
        want = min(int(length), _MAX_HANDSHAKE) if length.isdigit() else _MAX_HANDSHAKE
        try:
            while len(rest) < want and (part := more()):
                rest += part
        except OSError:
            pass  # what came is enough to tell
        raise RefusedError(status, reason, answer, rest[:want])
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
    if (
        answer.get("upgrade", "").lower() != "websocket"
        or "upgrade" not in answer.get("connection", "").lower()
        or answer.get("sec-websocket-accept") != accept
    ):
        raise WebSocketError("the other end does not speak WebSocket")
    if answer.get("sec-websocket-protocol") != subprotocol:
        raise RefusedError(101, f"without the subprotocol {subprotocol}", answer, b"")
    if answer.get("sec-websocket-extensions"):
        raise WebSocketError("the other end wants an extension that was not offered")
    return rest
