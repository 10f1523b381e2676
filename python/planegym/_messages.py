"""The messages of planegym.v1: numbers, layouts and JSON (env/ws/PROTOCOL.md)."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import numpy as np

from . import _ws
from .errors import BadVersionError, PlanegymError, ProtocolError, UnauthorizedError, from_code

SUBPROTOCOL = "planegym.v1"
VERSION = 1
STEP, STEP_RESULT, RESET, RESET_RESULT, STEP_MANY, STEP_MANY_RESULT = 1, 2, 3, 4, 5, 6
SUBSET, INFO, RESYNC, FINAL_OBS, SEEDS, FINAL_INFO = 1, 2, 4, 8, 16, 32
HEADER = struct.Struct("<BBHIIIQ")  # version, type, flags, env, n, aux_len, seq
PAYLOAD_AT = 16  # where the payload of a lone reply lies in the receive buffer

T = TypeVar("T")

_head = struct.Struct("<5IQQ").pack_into  # masking key; type and flags, env, n, aux; seq; ack


@dataclass(slots=True)
class Reply:
    """A binary reply in the receive buffer, valid until the next is taken."""

    kind: int
    flags: int
    n: int
    aux: int
    start: int  # of the body
    end: int


class Fields:
    """Reads a JSON object of the server's: what is missing or mistyped is a
    ProtocolError that names it."""

    def __init__(self, what: str, message: dict[str, Any]) -> None:
        self.what, self.message = what, message

    def get(self, key: str, kind: type[T], default: T | None = None) -> T:
        value = self.message.get(key, default)
        # To Python True is a 1; in JSON it is not.
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            self._wrong(key, kind.__name__)
        return value

    def whole(self, key: str, default: int | None = None) -> int:
        value = self.get(key, int, default)
        if not 0 <= value < 1 << 63:
            self._wrong(key, "number from 0 to 2**63")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value: Any = self.get(key, object, default)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            self._wrong(key, "finite number")
        return value

    def list(self, key: str, kind: type[T] = object, default: Any = None) -> list[T]:  # type: ignore[assignment]
        value: Any = self.get(key, list, default)
        for v in value:
            if not isinstance(v, kind) or (kind is int and isinstance(v, bool)):
                self._wrong(key, f"list of {kind.__name__}")
        return value  # type: ignore[no-any-return]

    def _wrong(self, key: str, want: str) -> NoReturn:
        got = repr(self.message[key])[:80] if key in self.message else "missing"
        raise ProtocolError(f"the server's {self.what}: {key} is {got}, not a {want}")


class Columns:
    """Where the columns of a reply lie; the arrays are views."""

    obs: np.ndarray  # f32 [rows,D]
    row: np.ndarray  # f32 [D], the first
    reward: np.ndarray  # f32 [rows]
    terminated: np.ndarray  # u8 [rows]
    truncated: np.ndarray  # u8 [rows]
    final_obs: np.ndarray | None  # f32 [rows,D]
    info: np.ndarray | None  # f32 [rows,F]
    final_info: np.ndarray | None  # f32 [rows,F]
    steps: int = 1

    def __init__(self, buf: bytearray, at: int, rows: int, dim: int, infos: int, flags: int):
        self.buf, self.at, self.rows, self.dim, self.infos, self.flags = (
            buf, at, rows, dim, infos, flags,
        )  # fmt: skip
        self.aux = (4 * rows * dim if flags & FINAL_OBS else 0) + (
            4 * rows * infos * ((flags & INFO != 0) + (flags & FINAL_INFO != 0))
        )
        self.reward_at = at + 4 * rows * dim
        self.end = self.reward_at + 4 * rows + 2 * (rows + 3 & ~3) + self.aux

    def map(self) -> None:
        """Make the views; the buffer is as long as end says."""
        buf, at, rows, dim = self.buf, self.at, self.rows, self.dim
        self.obs = np.frombuffer(buf, "<f4", rows * dim, at).reshape(rows, dim)
        self.row = self.obs[0]
        at = self.reward_at
        self.reward = np.frombuffer(buf, "<f4", rows, at)
        at += 4 * rows
        self.terminated = np.frombuffer(buf, "u1", rows, at)
        at += rows + 3 & ~3
        self.truncated = np.frombuffer(buf, "u1", rows, at)
        at += rows + 3 & ~3
        self.final_obs = self.info = self.final_info = None
        if self.flags & FINAL_OBS:
            self.final_obs = np.frombuffer(buf, "<f4", rows * dim, at).reshape(rows, dim)
            at += 4 * rows * dim
        if self.flags & INFO:
            shape = rows, self.infos
            self.info = np.frombuffer(buf, "<f4", rows * self.infos, at).reshape(shape)
            at += 4 * rows * self.infos
        if self.flags & FINAL_INFO:
            shape = rows, self.infos
            self.final_info = np.frombuffer(buf, "<f4", rows * self.infos, at).reshape(shape)


class Request:
    """Memory of a binary request of one length, written plain and then masked."""

    def __init__(self, size: int) -> None:
        head = _ws.frame_header(_ws.BINARY, size)
        pad = -len(head) % 4  # so that the words of the message are aligned
        self._buf = bytearray(pad) + head + bytes(4 + size)
        self._frame = memoryview(self._buf)[pad:]
        self._at = pad + len(head)
        words = np.frombuffer(self._buf, "<u4", offset=self._at)
        # Numpy masks with an array of no dimensions in half the time it takes with one.
        self._key, self._message = words[:1].reshape(()), words[1:]
        self.size = size
        self.columns = words[9:]  # behind header and ack

    def framed(self, key: int, what: int, env: int, n: int, seq: int, ack: int) -> bytes:
        _head(self._buf, self._at, key, VERSION | what << 8, env, n, 0, seq, ack)
        np.bitwise_xor(self._message, self._key, self._message)
        return bytes(self._frame)


def plain(value: Any) -> Any:
    """A value as JSON has it: numpy's scalars and arrays as Python's."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value


def to_json(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode()


def parse(buf: bytearray, start: int, end: int) -> dict[str, Any]:
    try:
        message = json.loads(bytes(buf[start:end]))
    except (ValueError, RecursionError) as e:
        raise ProtocolError(f"a text message is not JSON: {e}") from e
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ProtocolError("a text message is not an object with a type")
    return message


def error_of(message: dict[str, Any]) -> PlanegymError:
    row, retry = message.get("row"), message.get("retry_ms")
    return from_code(
        str(message.get("code", "")),
        str(message.get("message", "no message")),
        row=row if isinstance(row, int) else None,
        retry_ms=retry if isinstance(retry, int) else None,
        fatal=bool(message.get("fatal")),
    )


def refusal(url: str, e: _ws.RefusedError) -> PlanegymError:
    """The error of an HTTP answer to the upgrade."""
    if e.status == 101:
        return BadVersionError(f"{url} upgrades, but does not speak {SUBPROTOCOL}")
    try:
        message = parse(bytearray(e.body), 0, len(e.body))
        if message["type"] == "error":
            error = error_of(message)
            error.message = f"{url}: {error.message}"
            return error
    except ProtocolError:
        pass
    if e.status == 401 or e.status == 403:
        return UnauthorizedError(f"{url} answers HTTP {e.status} {e.reason}")
    return ProtocolError(f"{url} is not a planegym server: it answers HTTP {e.status} {e.reason}")
