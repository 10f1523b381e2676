"""Serve a Gymnasium environment of your own: planegym.worker.

    python -m planegym.worker mine.envs:make --name mine --unix /tmp/mine.sock
    planegym serve --worker mine=unix:///tmp/mine.sock

The worker steps the environment in Python; `planegym serve` in front of it adds the
dashboard, recordings, sessions that resume, tokens, and learners in any language:

    planegym.make(url, "mine")        planegym train --url ws://127.0.0.1:7070 --scenario mine

From Python alone: planegym.launch(workers={"mine": make}).

Observations of any space are flattened (gymnasium.spaces.flatten) to float32; actions are
Discrete, MultiDiscrete or MultiBinary. Numbers in the info dict of a first reset
become info fields; one that a later step leaves out is 0 there, as in Gymnasium's vectors.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import importlib
import json
import logging
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces

from ._session import (
    FINAL_INFO,
    FINAL_OBS,
    HEADER,
    INFO,
    RESET,
    RESYNC,
    SEEDS,
    STEP,
    STEP_MANY,
    SUBSET,
    VERSION,
)
from ._session import SUBPROTOCOL as PROTOCOL
from ._version import __version__
from ._ws import _GUID, BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT

Make = Callable[..., gymnasium.Env[Any, Any]]
MAX_REQUEST = 1 << 20
LARGEST = float(np.finfo(np.float32).max)
log = logging.getLogger("planegym")


class _RefusedError(Exception):
    """An error reply."""

    def __init__(self, code: str, message: str, row: int | None = None) -> None:
        self.code, self.message, self.row = code, message, row
        super().__init__(message)


class _GoneError(Exception):
    """The connection is over."""


class Worker:
    """A server of one environment over a unix socket, for `planegym serve --worker`.

    Each environment that a session makes is `num_envs` calls of make, stepped one after
    the other on the session's thread. The socket is its owner's alone (mode 0600).

    Args:
        make: gives an environment; the keyword arguments are the session's kwargs.
        name: of the scenario.
        path: of the socket; None: one in a temporary folder.
    """

    def __init__(self, make: Make, name: str, path: str | os.PathLike[str] | None = None) -> None:
        self.make, self.name = make, name
        self._folder = None if path else tempfile.TemporaryDirectory(prefix="planegym-")
        self.path = Path(path) if path else Path(self._folder.name) / "s"  # type: ignore[union-attr]
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if self.path.is_socket():  # of a worker that is gone; one that lives answers
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                if s.connect_ex(str(self.path)) == 0:
                    self._listener.close()
                    raise FileExistsError(f"{self.path}: another worker listens there")
            self.path.unlink()
        before = os.umask(0o177)
        try:
            self._listener.bind(str(self.path))
        finally:
            os.umask(before)
        self._listener.listen()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._accepter: threading.Thread | None = None
        self._threads: set[threading.Thread] = set()

    @property
    def url(self) -> str:
        """unix:///path, for --worker NAME=URL."""
        return f"unix://{self.path}"

    def start(self) -> Worker:
        """Serve on threads of this process."""
        self._accepter = threading.Thread(target=self.run, name="planegym-worker", daemon=True)
        self._accepter.start()
        return self

    def run(self) -> None:
        """Serve until close."""
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            with self._lock:
                self._open.add(sock)
                self._threads.add(thread)
            thread.start()

    def close(self) -> None:
        """End the sessions, and remove the socket. Closing again does nothing."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            threads = list(self._threads)
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for t in threads:
            if t is not threading.current_thread():
                t.join(10)
        with contextlib.suppress(OSError):
            self.path.unlink()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Worker:
        return self.start() if self._accepter is None else self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock.makefile("rb", buffering=64 << 10) as file:
                _Session(_Wire(sock, cast(IO[bytes], file)), self).run()
        except (_GoneError, OSError):
            pass
        except Exception:
            log.exception("worker %s: a session ended", self.name)
        finally:
            sock.close()
            with self._lock:
                self._open.discard(sock)
                self._threads.discard(threading.current_thread())


class _Wire:
    """WebSocket from the server's side, as far as planegym's own clients need it."""

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
            raise _GoneError
        accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()
        self.sock.sendall(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n".encode()
        )

    def exactly(self, n: int) -> bytes:
        got = self.file.read(n)
        if len(got) < n:
            raise _GoneError
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
        raise _GoneError


def _unmask(payload: bytes, key: bytes) -> bytes:
    n = len(payload)
    mask = int.from_bytes((key * (n // 4 + 1))[:n], "little")
    return (int.from_bytes(payload, "little") ^ mask).to_bytes(n, "little")


class _Session:
    """A connection's requests, in order."""

    def __init__(self, wire: _Wire, worker: Worker) -> None:
        self.wire, self.worker = wire, worker
        self.rows: dict[int, _Rows] = {}
        self.next, self.made = 1, 0

    def run(self) -> None:
        try:
            opcode, data = self.wire.message()
            hello = self._json(data) if opcode == TEXT else {}
            if hello.get("type") != "hello" or hello.get("version") != VERSION:
                self._fatal(hello.get("id", 0), "bad_version", f"want a hello of version {VERSION}")
            self.wire.say(
                "welcome", id=hello.get("id", 0), server=f"planegym-worker/{__version__}",
                versions=[VERSION], capabilities=["info", "step_many"], session=f"{id(self):x}",
                resume_token="",
                limits={"request_bytes": MAX_REQUEST, "reply_bytes": 16 << 20, "in_flight": 64,
                        "envs": 16, "idle_seconds": 0, "ping_seconds": 0, "pong_seconds": 0,
                        "resume_seconds": 0},
            )  # fmt: skip
            while True:
                opcode, data = self.wire.message()
                self._binary(data) if opcode == BINARY else self._text(data)
        finally:
            for r in self.rows.values():
                r.close()

    def _json(self, data: bytes) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            got = json.loads(data)
            if isinstance(got, dict):
                return got
        return self._fatal(0, "bad_frame", "a text message is not a JSON object")

    def _fatal(self, number: int, code: str, message: str) -> dict[str, Any]:
        self.wire.say("error", id=number, code=code, message=message, fatal=True)
        self.wire.end(4501 if code == "bad_version" else 4500)
        raise _GoneError

    def _error(self, number: int, e: _RefusedError) -> None:
        row = {} if e.row is None else {"row": e.row}
        self.wire.say("error", id=number, code=e.code, message=e.message, **row)

    def _turn(self, number: Any) -> int:
        if number != self.next:
            self._fatal(0, "bad_frame", f"number {number!r} is out of turn: want {self.next}")
        self.next += 1
        return int(number)

    def _of(self, env: Any) -> _Rows:
        if env not in self.rows:
            raise _RefusedError("unknown_env", f"env {env!r}: there are {sorted(self.rows)}")
        return self.rows[env]

    # --- text

    def _text(self, data: bytes) -> None:
        m = self._json(data)
        kind, number = m.get("type"), m.get("id", 0)
        if kind == "ping":
            self.wire.say("pong", id=number)
            return
        self._turn(number)
        try:
            answer = getattr(self, f"_on_{kind}", None)
            if answer is None:
                raise _RefusedError("bad_frame", f"a worker has no {kind!r}")
            reply, fields = answer(m)
        except _RefusedError as e:
            self._error(number, e)
            return
        self.wire.say(reply, id=number, **fields)
        if reply == "closed" and not m.get("env"):
            self.wire.end(1000)

    def _on_make(self, m: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        name, n = m.get("scenario"), m.get("num_envs")
        if name != self.worker.name:
            raise _RefusedError("unknown_scenario", f"{name!r}: there is {self.worker.name!r}")
        if not isinstance(n, int) or n < 1:
            raise _RefusedError("invalid_config", f"num_envs: {n!r} is not 1 or more")
        if m.get("autoreset", "next_step") != "disabled":
            raise _RefusedError(
                "invalid_config",
                "autoreset: a worker has 'disabled'; planegym serve --worker has all",
            )
        if m.get("model"):
            raise _RefusedError("model_unavailable", f"model {m['model']!r}: a worker has none")
        rows = _Rows(self.worker.make, n, m.get("kwargs") or {})
        self.made += 1
        self.rows[self.made] = rows
        return "made", {"env": self.made, "scenario": name, **rows.made()}

    def _on_reset(self, m: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        r = self._of(m.get("env"))
        if m.get("options"):
            raise _RefusedError(
                "bad_frame", f"options: {sorted(m['options'])}: a worker takes none"
            )
        rows = r.check_rows(m.get("rows"))
        seeds = m.get("seeds")
        if m.get("seed") is not None:
            seeds = [(int(m["seed"]) + i) % (1 << 64) for i in range(len(rows))]
        r.reset(rows, None if seeds is None else [int(s) for s in seeds])
        fields: dict[str, Any] = {"env": m["env"], "obs": r.obs[rows].tolist()}
        if m.get("info"):
            fields["info"] = dict(zip(r.infos, r.info[rows].T.tolist(), strict=True))
        return "reset_result", fields

    def _on_step(self, m: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        r = self._of(m.get("env"))
        rows = r.check_rows(m.get("rows"))
        try:
            actions = np.asarray(m.get("actions"), np.int64).reshape(len(rows), len(r.choices))
        except (TypeError, ValueError) as e:
            raise _RefusedError("invalid_action", f"actions: {e}") from e
        r.step(rows, actions)
        fields: dict[str, Any] = {
            "env": m["env"], "obs": r.obs[rows].tolist(), "reward": r.reward[rows].tolist(),
            "terminated": r.terminated[rows].tolist(), "truncated": r.truncated[rows].tolist(),
        }  # fmt: skip
        if m.get("info"):
            fields["info"] = dict(zip(r.infos, r.info[rows].T.tolist(), strict=True))
        return "step_result", fields

    def _on_state(self, m: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        self._of(m.get("env"))
        raise _RefusedError("bad_snapshot", "an environment of a worker takes no snapshots")

    _on_set_state = _on_state

    def _on_close(self, m: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if m.get("env"):
            self._of(m["env"]).close()
            del self.rows[m["env"]]
        return "closed", {"env": m.get("env", 0)}

    # --- binary

    def _binary(self, data: bytes) -> None:
        if len(data) < HEADER.size + 8:
            self._fatal(0, "bad_frame", f"a binary message of {len(data)} bytes")
        version, kind, flags, env, n, aux, seq = HEADER.unpack_from(data)
        if version != VERSION:
            self._fatal(0, "bad_version", f"a binary message of version {version}")
        self._turn(seq)
        rows = self.rows.get(env)
        try:
            if rows is None:
                self._of(env)
                return
            if rows.failed and not flags & RESYNC:
                raise _RefusedError("skipped", "an earlier request failed")
            rows.failed = False
            self.wire.send(BINARY, rows.answer(kind, flags, env, n, aux, seq, data))
        except _RefusedError as e:
            if rows is not None:
                rows.failed = True
            self._error(seq, e)


class _Rows:
    """num_envs environments, and what each returned last."""

    def __init__(self, make: Make, n: int, kwargs: dict[str, Any]) -> None:
        self.envs: list[gymnasium.Env[Any, Any]] = []
        try:
            for _ in range(n):
                self.envs.append(make(**kwargs))
        except Exception as e:
            self.close()
            code = "invalid_config" if isinstance(e, (TypeError, ValueError)) else "env_error"
            raise _RefusedError(code, f"{type(e).__name__}: {e}") from e
        self.failed = False
        first = self.envs[0]
        try:
            self.choices, self.action = _actions(first.action_space)
            self.space = first.observation_space
            flat = spaces.flatten_space(self.space)
            if not isinstance(flat, spaces.Box):
                raise ValueError(f"observations of {self.space} have no fixed length")
            self.low, self.high = flat.low.astype(np.float32), flat.high.astype(np.float32)
            _, info = first.reset(seed=0)
            self.infos = [str(k) for k, v in info.items() if _number(v) is not None]
        except Exception as e:
            self.close()
            raise _RefusedError("invalid_config", f"{type(e).__name__}: {e}") from e
        d = len(self.low)
        names = (first.metadata or {}).get("elements")
        if names is None:
            names = ["obs"] if d == 1 else [f"obs{i}" for i in range(d)]
        if len(names) != d:
            self.close()
            raise _RefusedError("invalid_config", f"metadata elements: {len(names)} names of {d}")
        self.names = [str(s) for s in names]
        self.seeded, self.started, self.over = (np.zeros(n, np.bool_) for _ in range(3))
        self.obs = np.zeros((n, d), np.float32)
        self.info = np.zeros((n, len(self.infos)), np.float32)
        self.reward = np.zeros(n, np.float32)
        self.terminated, self.truncated = np.zeros(n, np.bool_), np.zeros(n, np.bool_)

    def made(self) -> dict[str, Any]:
        """The fields of `made`."""
        first = self.envs[0]
        metadata, spec = first.metadata or {}, first.spec
        seconds = metadata.get("step_seconds") or 1 / (metadata.get("render_fps") or 1)

        def bounds(of: np.ndarray) -> list[float | str]:
            return [("inf" if x > 0 else "-inf") if np.isinf(x) else float(x) for x in of]

        return {
            "num_envs": len(self.envs), "autoreset": "disabled",
            "observation_space": {
                "type": "box", "dtype": "float32", "shape": [len(self.low)],
                "low": bounds(self.low), "high": bounds(self.high),
                "elements": [{"name": n, "unit": ""} for n in self.names],
            },
            "action_space": {"type": "multi_discrete", "dtype": "int32", "n": self.choices},
            "limits": [], "initial": [], "reward_range": [-LARGEST, LARGEST],
            "step_seconds": float(seconds),
            "max_steps": (spec.max_episode_steps if spec else None) or 0,
            "real_time": False, "snapshots": False,
            "info_fields": [{"name": n, "unit": ""} for n in self.infos],
            "in_flight": 64, "pending_bytes": 4 << 20, "model_hash": "",
        }  # fmt: skip

    def close(self) -> None:
        for e in self.envs:
            try:
                e.close()
            except Exception:
                log.exception("worker: close of an environment")
        self.envs = []

    def check_rows(self, rows: Any) -> np.ndarray:
        if rows is None:
            return np.arange(len(self.envs))
        at = np.asarray(rows)
        if at.ndim != 1 or len(at) == 0 or at.dtype.kind not in "iu":
            raise _RefusedError("invalid_rows", "rows: want a list of numbers")
        if len(set(at.tolist())) < len(at) or at.min() < 0 or at.max() >= len(self.envs):
            raise _RefusedError("invalid_rows", f"rows: {at.tolist()}: there are {len(self.envs)}")
        return at.astype(np.int64)

    def reset(self, rows: np.ndarray, seeds: Sequence[int] | None) -> None:
        if seeds is not None and len(seeds) != len(rows):
            raise _RefusedError("invalid_rows", f"{len(seeds)} seeds of {len(rows)} rows")
        for i, row in enumerate(rows):
            seed = int(seeds[i]) if seeds is not None else None if self.seeded[row] else int(row)
            with self._of_row(int(row)):
                obs, info = self.envs[row].reset(seed=seed)
                self._take(int(row), obs, info, 0.0, False, False)
            self.seeded[row] = self.started[row] = True

    def check_actions(self, rows: np.ndarray, actions: np.ndarray) -> None:
        bad = (actions < 0) | (actions >= np.array(self.choices))
        if bad.any():
            i, s = (int(v) for v in np.argwhere(bad)[0])
            raise _RefusedError(
                "invalid_action",
                f"row {rows[i]}: {actions[i, s]} is not in [0, {self.choices[s]})", int(rows[i]),
            )  # fmt: skip
        for row in rows.tolist():
            if not self.started[row]:
                raise _RefusedError("reset_required", f"row {row}: reset it before a step", row)
            if self.over[row]:
                raise _RefusedError("episode_over", f"row {row}: its episode is over", row)

    def step(self, rows: np.ndarray, actions: np.ndarray) -> None:
        self.check_actions(rows, actions)
        for row, action in zip(rows.tolist(), actions, strict=True):
            with self._of_row(row):
                obs, reward, terminated, truncated, info = self.envs[row].step(self.action(action))
                self._take(row, obs, info, float(reward), bool(terminated), bool(truncated))

    @contextlib.contextmanager
    def _of_row(self, row: int) -> Any:
        """An exception of an environment is an error reply; the row wants a reset then."""
        try:
            yield
        except Exception as e:
            self.started[row] = False
            log.warning("worker: row %d", row, exc_info=not isinstance(e, _RefusedError))
            message = e.message if isinstance(e, _RefusedError) else f"{type(e).__name__}: {e}"
            raise _RefusedError("env_error", f"row {row}: {message}", row) from e

    def _take(
        self, row: int, obs: Any, info: Any, reward: float, terminated: bool, truncated: bool
    ) -> None:
        flat = np.asarray(spaces.flatten(self.space, obs), np.float32).ravel()
        if flat.shape != self.low.shape:
            raise _RefusedError("env_error", f"an observation of {len(flat)} of {len(self.low)}")
        if not np.isfinite(flat).all():
            k = int(np.flatnonzero(~np.isfinite(flat))[0])
            raise _RefusedError("env_error", f"observation {self.names[k]} is {flat[k]}")
        if not np.isfinite(np.float32(reward)):
            raise _RefusedError("env_error", f"reward is {reward}")
        self.obs[row] = np.clip(flat, self.low, self.high)
        values = [_number(info.get(k)) for k in self.infos]
        self.info[row] = [0.0 if v is None or not np.isfinite(v) else v for v in values]
        self.reward[row], self.terminated[row], self.truncated[row] = reward, terminated, truncated
        self.over[row] = terminated or truncated

    def answer(
        self, kind: int, flags: int, env: int, n: int, aux: int, seq: int, data: bytes
    ) -> bytes:
        """The reply to a binary request."""
        at, steps, s = HEADER.size + 8, 1, len(self.choices)
        allowed = SUBSET | INFO | RESYNC | (SEEDS if kind == RESET else 0)
        if kind not in (STEP, RESET, STEP_MANY) or flags & ~allowed or aux:
            raise _RefusedError("bad_frame", f"type {kind}, flags {flags:#x}, aux_len {aux}")
        if kind == STEP_MANY:
            steps, at = int.from_bytes(data[at : at + 4], "little"), at + 8
        if n < 1 or n > len(self.envs) or (not flags & SUBSET and n != len(self.envs)):
            raise _RefusedError("invalid_rows", f"n is {n}, there are {len(self.envs)}")
        words = 0 if kind == RESET else n * s * steps
        want = at + (8 * n if flags & SEEDS else 0) + (4 * n if flags & SUBSET else 0) + 4 * words
        if steps < 1 or len(data) != want:
            raise _RefusedError("bad_frame", f"{len(data)} bytes, want {want}")
        seeds = None
        if flags & SEEDS:
            seeds, at = np.frombuffer(data, "<u8", n, at).tolist(), at + 8 * n
        rows = None
        if flags & SUBSET:
            rows, at = np.frombuffer(data, "<u4", n, at), at + 4 * n
        which = self.check_rows(rows)
        if kind == RESET:
            self.reset(which, seeds)
            return self._result(kind, flags, env, seq, which, [self._columns(which)])
        actions = np.frombuffer(data, "<i4", words, at).reshape(steps, n, s)
        for a in actions:
            self.check_actions(which, a)
        done = []
        for a in actions:
            self.step(which, a)
            done.append(self._columns(which))
            if self.over[which].any():
                break
        return self._result(kind, flags, env, seq, which, done)

    def _columns(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        columns = (self.obs, self.reward, self.terminated, self.truncated, self.info)
        return tuple(c[rows] for c in columns)

    def _result(
        self,
        kind: int,
        flags: int,
        env: int,
        seq: int,
        rows: np.ndarray,
        steps: list[tuple[np.ndarray, ...]],
    ) -> bytes:
        obs, reward, terminated, truncated, info = (np.stack(c) for c in zip(*steps, strict=True))
        tell = flags & INFO if self.infos else 0
        aux = info.astype("<f4").tobytes() if tell else b""
        assert not flags & (FINAL_OBS | FINAL_INFO)

        def padded(flag: np.ndarray) -> bytes:
            raw = flag.astype(np.uint8).tobytes()
            return raw + bytes(-len(raw) % 4)

        return b"".join((
            HEADER.pack(VERSION, kind + 1, flags & SUBSET | tell, env, len(rows), len(aux), seq),
            len(steps).to_bytes(4, "little") + bytes(4) if kind == STEP_MANY else b"",
            obs.astype("<f4").tobytes(), reward.astype("<f4").tobytes(),
            padded(terminated), padded(truncated), aux,
        ))  # fmt: skip


def _number(v: Any) -> float | None:
    """v where it is one number."""
    if isinstance(v, (bool, int, float, np.number, np.bool_)):
        return float(v)
    return (
        float(v) if isinstance(v, np.ndarray) and v.ndim == 0 and v.dtype.kind in "biuf" else None
    )


def _actions(space: gymnasium.Space[Any]) -> tuple[list[int], Callable[[np.ndarray], Any]]:
    """How many choices each part of an action has, and the action of their indices."""
    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return [int(space.n)], lambda a: int(a[0]) + start
    if isinstance(space, spaces.MultiDiscrete):
        shape, first = space.nvec.shape, np.asarray(space.start)
        choices = [int(v) for v in space.nvec.ravel()]
        return choices, lambda a: (a.reshape(shape) + first).astype(space.dtype)
    if isinstance(space, spaces.MultiBinary):
        count = int(np.prod(space.shape))
        return [2] * count, lambda a: a.reshape(space.shape).astype(space.dtype)
    raise ValueError(
        f"actions of {space}: want Discrete, MultiDiscrete or MultiBinary (cut a Box into steps "
        "with an ActionWrapper)"
    )


def _find(target: str) -> Make:
    """module:attribute, or a Gymnasium id."""
    module, colon, attribute = target.partition(":")
    if not colon or "/" in target:
        return lambda **kwargs: gymnasium.make(target, **kwargs)
    found = getattr(importlib.import_module(module), attribute)
    if not callable(found):
        raise TypeError(f"{target} is not callable")
    return found  # type: ignore[no-any-return]


def main(argv: Sequence[str] | None = None) -> None:
    """python -m planegym.worker."""
    parser = argparse.ArgumentParser(
        prog="python -m planegym.worker",
        description="Serve a Gymnasium environment for `planegym serve --worker NAME=unix://…`.",
        epilog="example: python -m planegym.worker CartPole-v1 --name pole --unix /tmp/pole.sock",
    )
    parser.add_argument(
        "target", help="module:callable that gives an environment, or a Gymnasium id"
    )
    parser.add_argument("--name", required=True, help="of the scenario")
    parser.add_argument("--unix", required=True, help="path of the socket to listen at")
    args = parser.parse_args(argv)
    sys.path.insert(0, os.getcwd())
    worker = Worker(_find(args.target), args.name, args.unix)
    print(f"planegym serve --worker {args.name}={worker.url}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        worker.run()
    worker.close()


if __name__ == "__main__":
    main()
