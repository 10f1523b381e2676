"""A session of planegym.v1 that holds one environment batch (env/ws/PROTOCOL.md).

Requests are numbered; with one batch per session replies come in the order of
requests. The session holds a request until its reply has arrived, so that a connection
that breaks is resumed without anybody noticing but the log.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import struct
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from . import _ws
from ._messages import (
    FINAL_INFO,
    FINAL_OBS,
    HEADER,
    INFO,
    PAYLOAD_AT,
    RESYNC,
    STEP,
    STEP_MANY_RESULT,
    STEP_RESULT,
    SUBPROTOCOL,
    VERSION,
    Columns,
    Fields,
    Reply,
    Request,
    error_of,
    parse,
    plain,
    refusal,
    to_json,
)
from ._version import __version__
from .errors import (
    BadVersionError,
    CapacityError,
    PendingError,
    PlanegymError,
    ProtocolError,
    RateLimitedError,
    ReplyTimeoutError,
    ServerNotRunningError,
    SessionBusyError,
    SessionLostError,
    UnauthorizedError,
)

log = logging.getLogger("planegym")

# After these a new connection may go on (close codes 4000 to 4499).
_RESUMABLE = frozenset(("capacity", "draining", "rate_limited", "session_busy", "slow_consumer"))

_seq = struct.Struct("<Q").unpack_from

# A masked STEP of one row and one action is a sum in one integer, its first byte the lowest: two
# bytes of frame head, the masking key, 36 bytes of message. The key times this masks them all,
# and puts the key itself in its own place.
_EVERY_WORD = sum(1 << 8 * i for i in range(2, 42, 4))

_pid = os.getpid()


def _forked() -> None:
    global _pid  # noqa: PLW0603
    _pid = os.getpid()


if hasattr(os, "register_at_fork"):  # asking for the number costs a system call a step
    os.register_at_fork(after_in_child=_forked)


@dataclass(frozen=True)
class Config:
    """What a session is made from: plain data, so that it pickles. The token
    stays behind: pickles lie in files and queues that others read, so the copy
    takes PLANEGYM_TOKEN of the process it wakes up in."""

    url: str
    scenario: str
    num_envs: int = 1
    autoreset: str = "disabled"
    model: str = ""
    record: bool = False
    kwargs: dict[str, Any] = field(default_factory=dict)
    token: str | None = field(default=None, repr=False)
    timeout: float | None = 30.0
    reconnect: float = 10.0
    info: bool = True
    ca: str | None = None
    cert: str | tuple[str, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "token": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, token=os.environ.get("PLANEGYM_TOKEN") or None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Config:
        return self  # a copy in this process

    def __copy__(self) -> Config:
        return self

    def __post_init__(self) -> None:
        _ws.Address(self.url)
        if self.num_envs < 1:
            raise ValueError(f"num_envs: {self.num_envs} is less than 1")
        if self.timeout is not None and not self.timeout > 0:
            raise ValueError(
                f"timeout: {self.timeout!r} is not above 0 seconds; None waits for ever"
            )
        if not self.reconnect >= 0:
            raise ValueError(f"reconnect: {self.reconnect!r} is not 0 or more seconds")


class Session:
    """One connection, one environment batch, one thread."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.pid = _pid
        self.seq = 0  # of the last request
        self.ack = 0  # of the last reply
        self.failed = False  # an error reply came since the last request
        self.pending: deque[tuple[int, bytes]] = deque()  # unanswered, framed
        self.alive = True
        self.in_flight = 64
        self.usual = Columns(bytearray(), 0, 0, 0, 0, 0)
        self._usual_head, self._usual_size = b"", sys.maxsize  # nothing is, before made
        self.ws = self._dial(self._hello)
        self._link = _Link(self.ws)
        try:
            self.made = self._make()
            self._sizes()
        except BaseException:
            self.ws.abort()
            raise
        self._keeper = threading.Thread(
            target=_keep, args=(self._link, self.keep_every), name="planegym-keepalive", daemon=True
        )
        self._keeper.start()
        # Forgotten environments are closed too, at exit at the latest.
        self._farewell = weakref.finalize(self, _say_farewell, self._link)

    def _sizes(self) -> None:
        m, c = Fields("made", self.made), self.config
        self.env = m.whole("env")
        self.dim = len(
            Fields("made.observation_space", m.get("observation_space", dict)).list("low")
        )
        self.switches = len(Fields("made.action_space", m.get("action_space", dict)).list("n", int))
        self.info_names = [
            Fields("made.info_fields", f).get("name", str) for f in m.list("info_fields", dict, [])
        ]
        self.in_flight = m.whole("in_flight", 64)
        if not self.dim or not self.switches or not self.in_flight:
            raise ProtocolError("made: observation_space, action_space or in_flight is empty")
        m.list("limits", int, [])
        m.list("initial", int, [])
        m.whole("max_steps", 0)
        m.number("step_seconds", 0)
        m.get("real_time", bool, False)
        self.info_flag = INFO if c.info and self.info_names else 0
        n = self._num = c.num_envs
        self._views: dict[tuple[int, int], Columns] = {}
        # What most steps are answered with, so that a comparison recognises it.
        self.usual = self._unmapped(bytearray())
        size = self.usual.end - PAYLOAD_AT
        head = bytearray(_ws.frame_header(_ws.BINARY, size))
        head[1] &= 0x7F  # a server does not mask
        self._usual_size = len(head) + size
        fields = VERSION, STEP_RESULT, self.info_flag, self.env, n, self.usual.aux, 0
        self._usual_head = bytes(head) + HEADER.pack(*fields)[:16]
        # A lone reply is read to where its body is aligned to eight bytes.
        self.ws.rebase(PAYLOAD_AT - len(head))
        self._batch = self._step = Request(32 + 4 * n * self.switches)
        shape = (n,) if self.switches == 1 else (n, self.switches)
        self._actions = self._step.columns.view("<i4").reshape(shape)
        fields = VERSION, STEP, self.info_flag | RESYNC, self.env, 1, 0, 0
        single = _ws.frame_header(_ws.BINARY, 36) + bytes(4) + HEADER.pack(*fields)
        self._single = int.from_bytes(single, "little")

    # --- connecting

    def _dial(self, greet: Any) -> _ws.WebSocket:
        """Connect and greet; the connection is closed where greet raises."""
        c = self.config
        address = _ws.Address(c.url)
        headers = {"User-Agent": f"planegym-python/{__version__}"}
        if c.token:
            headers["Authorization"] = f"Bearer {c.token}"
        tls = None
        if address.tls:
            tls = ssl.create_default_context(cafile=c.ca)
            if c.cert:
                tls.load_cert_chain(*([c.cert] if isinstance(c.cert, str) else c.cert))
        try:
            ws = _ws.connect(
                address,
                subprotocol=SUBPROTOCOL,
                headers=headers,
                tls=tls,
                timeout=min(c.timeout or 30.0, 30.0),
            )
        except _ws.RefusedError as e:
            raise refusal(c.url, e) from e
        except ssl.SSLError as e:
            raise UnauthorizedError(f"TLS with {c.url} failed: {e}; check ca= and cert=") from e
        except OSError as e:
            raise ServerNotRunningError(f"no server answers at {c.url}: {e}") from e
        except _ws.WebSocketError as e:
            raise ProtocolError(f"{c.url}: {e}") from e
        try:
            greet(ws)
            ws.settimeout(c.timeout)
            return ws
        except _ws.WaitError:
            ws.abort()
            raise ServerNotRunningError(
                f"{c.url} took the connection but does not answer"
            ) from None
        except _ws.WebSocketError as e:
            ws.abort()
            raise ServerNotRunningError(f"{c.url}: {e} while greeting") from e
        except BaseException:
            ws.abort()
            raise

    def _greeting(self, **fields: Any) -> bytes:
        return to_json(
            {
                "id": 0,
                "client": f"planegym-python/{__version__}",
                "version": VERSION,
                "capabilities": ["resume", "final_info", "reset_options"],
                **fields,
            }
        )

    def _hello(self, ws: _ws.WebSocket) -> None:
        ws.send(_ws.TEXT, self._greeting(type="hello"))
        welcome = self._answer(ws, "welcome")
        read = Fields("welcome", welcome)
        versions = read.list("versions", int, [])
        if VERSION not in versions:
            raise BadVersionError(
                f"the server {welcome.get('server')} speaks versions {versions}, "
                f"this client (planegym {__version__}) speaks {VERSION}"
            )
        limits = Fields("welcome.limits", read.get("limits", dict, {}))
        self.keep_every = max(0.5, min(float(limits.number("ping_seconds", 20)), 3600) / 2)
        self.token = read.get("resume_token", str, "")
        self.capabilities = frozenset(read.list("capabilities", str, []))
        self.welcome = welcome

    def _answer(self, ws: _ws.WebSocket, kind: str) -> dict[str, Any]:
        """The reply to a greeting."""
        ws.begin()
        while True:
            opcode, start, end = ws.recv()
            if opcode != _ws.TEXT:
                raise ProtocolError(f"a binary message came in place of {kind}")
            message = parse(ws.buf, start, end)
            if message["type"] == kind:
                return message
            if message["type"] == "error":
                raise error_of(message)
            if message["type"] != "event":
                raise ProtocolError(f"{message['type']!r} came in place of {kind!r}")

    def _make(self) -> dict[str, Any]:
        c = self.config
        made = self.request(
            "make",
            "made",
            scenario=c.scenario,
            num_envs=c.num_envs,
            autoreset=c.autoreset,
            model=c.model,
            record=c.record,
            kwargs=c.kwargs,
        )
        return made

    def _recover(self, cause: Exception) -> None:
        """Resume on a new connection, or lose the session."""
        c = self.config
        self.ws.abort()
        if isinstance(cause, _ws.ClosedByPeerError) and 4500 <= cause.code <= 4999:
            self._lose(f"the server ended the session: {cause}")
        if not self.token or c.reconnect == 0:
            self._lose(f"{c.url}: {cause}")
        log.warning("%s: %s; resuming", c.url, cause)
        deadline, delay = time.monotonic() + c.reconnect, 0.02
        last: Exception = cause
        while True:
            accepted = 0

            def resume(ws: _ws.WebSocket) -> None:
                nonlocal accepted
                ws.send(
                    _ws.TEXT, self._greeting(type="resume", token=self.token, last_seq=self.ack)
                )
                accepted = Fields("resumed", self._answer(ws, "resumed")).whole("accepted")

            try:
                ws = self._dial(resume)
                ws.rebase(self.ws.base)
                self.ws = ws
                self._link.ws = ws
                for seq, frame in self.pending:
                    if seq > accepted:
                        ws.sendall(frame)
                log.warning("%s: resumed", c.url)
                return
            except (ServerNotRunningError, SessionBusyError, CapacityError, RateLimitedError) as e:
                last = e
                if e.retry_ms:
                    delay = e.retry_ms / 1000
            except _ws.WebSocketError as e:
                last = e
            except PlanegymError as e:
                self._lose(f"{c.url}: {cause}, and resuming failed: {e.message}", e)
            left = deadline - time.monotonic()
            if left <= 0:
                why = last.message if isinstance(last, PlanegymError) else last
                self._lose(f"{c.url}: {cause}, not resumed in {c.reconnect:g} s ({why})", last)
            time.sleep(min(delay, left))
            delay = min(2 * delay, 1.0)

    def _lose(self, message: str, cause: BaseException | None = None) -> NoReturn:
        self.abandon()
        raise SessionLostError(message, fatal=True) from cause

    # --- requests

    def send(self, frame: bytes) -> int:
        """Send the framed request whose number is seq + 1."""
        if len(self.pending) >= self.in_flight:
            raise PendingError(f"{len(self.pending)} requests are unanswered")
        self._link.seq = self.seq = self.seq + 1
        self.failed = False
        self.pending.append((self.seq, frame))
        try:
            self.ws.sendall(frame)
        except _ws.WebSocketError as e:
            self._recover(e)
        return self.seq

    def send_single(self, action: int) -> int:
        """STEP of a batch of one with one action."""
        numbers = (self.seq + 1) << 176 | self.ack << 240 | action << 304
        mask = self.ws.key() * _EVERY_WORD
        return self.send((self._single ^ mask ^ numbers).to_bytes(42, "little"))

    def send_step(self, actions: np.ndarray) -> int:
        """STEP of all rows; actions [n] or [n,S] are of 32 bits."""
        self._actions[...] = actions
        return self._send(self._step, STEP, self.info_flag, self._num)

    def send_batch(self, kind: int, flags: int, n: int, *columns: np.ndarray) -> int:
        """A binary request; columns are contiguous and of 4- or 8-byte numbers."""
        words = [c.reshape(-1).view("<u4") for c in columns]
        size = 32 + 4 * sum(len(w) for w in words)
        if self._batch.size != size:
            self._batch = Request(size)
        if words:
            np.concatenate(words, out=self._batch.columns)
        return self._send(self._batch, kind, flags, n)

    def _unmapped(self, buf: bytearray) -> Columns:
        n, infos = self.config.num_envs, len(self.info_names)
        return Columns(buf, PAYLOAD_AT + 24, n, self.dim, infos, self.info_flag)

    def _send(self, request: Request, kind: int, flags: int, n: int) -> int:
        if self.failed or not self.pending:
            # Skipping may end: the caller got the error, or nothing is in flight.
            flags |= RESYNC
        key, what = self.ws.key(), kind | flags << 8
        return self.send(request.framed(key, what, self.env, n, self.seq + 1, self.ack))

    def request(self, kind: str, reply: str, **fields: Any) -> dict[str, Any]:
        """A text request and its reply; nothing else is in flight."""
        if self.pending:
            raise PendingError(f"{len(self.pending)} requests are unanswered")
        text = to_json({"type": kind, "id": self.seq + 1, "ack": self.ack, **fields})
        self.send(_ws.frame(_ws.TEXT, text, self.ws.key()))
        message = self.take()
        if not isinstance(message, dict) or message["type"] != reply:
            got = message["type"] if isinstance(message, dict) else "a binary message"
            self._broken(f"{got!r} came in reply to {kind!r}")
        return message

    def reset_with(
        self,
        options: Mapping[str, Any],
        seeds: Sequence[int] | None,
        rows: Sequence[int] | None = None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Reset rows (None: all) with options of the episode: their first
        observations f32 [n,D] and infos f32 [n]. Replies outstanding are dropped."""
        known = self.made.get("reset_options")
        if not isinstance(known, dict):
            raise ValueError(
                f"options: {self.config.scenario} on {self.welcome.get('server')} takes none at "
                f"reset, {sorted(options)} given; kwargs= change a scenario for the whole session"
            )
        if unknown := options.keys() - known.keys():
            raise ValueError(
                f"options: {self.config.scenario} has no {sorted(unknown)[0]!r}; "
                f"known are {', '.join(sorted(known))}"
            )
        given = plain(options)
        if "traffic_seed" in given:  # u64s are text in JSON
            v = given["traffic_seed"]
            given["traffic_seed"] = [str(x) for x in v] if isinstance(v, list) else str(v)
        self.drop(self.seq)
        fields: dict[str, Any] = {"options": given, "info": bool(self.info_flag)}
        if seeds is not None:
            fields["seeds"] = [str(v) for v in seeds]
        if rows is not None:
            fields["rows"] = [int(r) for r in rows]
        reply = self.request("reset", "reset_result", env=self.env, **fields)
        n = self.config.num_envs if rows is None else len(rows)
        try:
            obs = np.array(reply["obs"], np.float32).reshape(n, self.dim)
            infos = {
                k: np.array(reply["info"][k], np.float32).reshape(n)
                for k in (self.info_names if self.info_flag else ())
            }
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            self._broken(f"a reset_result that makes no sense: {e}", e)
        return obs, infos

    # --- replies

    def take(self) -> Columns | Reply | dict[str, Any]:
        """The next reply, in the order of requests: usual where it is one of those,
        valid until the next is taken. An error reply is raised."""
        self.ws.begin()
        while True:
            ws = self.ws
            try:
                if ws.took(self._usual_head, self._usual_size):
                    buf, opcode, start, end = ws.buf, _ws.BINARY, PAYLOAD_AT, self.usual.end
                    if _seq(buf, PAYLOAD_AT + 16)[0] == self.ack + 1 and self.pending:
                        self.ack += 1
                        self.pending.popleft()
                        if self.usual.buf is not buf:
                            self.usual = self._unmapped(buf)
                            self.usual.map()
                        return self.usual
                else:
                    opcode, start, end = ws.recv()
            except _ws.WaitError:
                raise ReplyTimeoutError(
                    f"{self.config.url}: no reply to request {self.ack + 1} in time"
                ) from None
            except _ws.ViolationError as e:
                self._broken(str(e), e)
            except _ws.WebSocketError as e:
                self._recover(e)
                self.ws.begin()
                continue
            except BaseException:  # Ctrl-C: what came may be lost, resuming repeats it
                self.ws.abort()
                raise
            buf = self.ws.buf
            if opcode == _ws.BINARY:
                if end - start < 24:
                    self._broken(f"a binary message of {end - start} bytes")
                version, kind, flags, env, n, aux, seq = HEADER.unpack_from(buf, start)
                if seq <= self.ack:
                    continue  # sent again after a resume
                if seq != self.ack + 1 or not self.pending:
                    self._broken(f"reply {seq} came where {self.ack + 1} was due")
                if version != VERSION or env != self.env:
                    self._broken(f"a reply of version {version} for environment {env}")
                self.ack = seq
                self.pending.popleft()
                return Reply(kind, flags, n, aux, start + 24, end)
            try:
                message = parse(buf, start, end)
            except ProtocolError as e:
                self._broken(e.message, e)
            kind = message["type"]
            if kind == "event":
                if message.get("event") == "draining":
                    log.warning("%s: the server is shutting down", self.config.url)
                continue
            number = message.get("id")
            if kind == "error" and (number == 0 or message.get("fatal")):
                error = error_of(message)
                if error.code in _RESUMABLE:
                    self._recover(error)
                    self.ws.begin()
                    continue
                self.abandon()
                raise error
            if kind == "pong":
                continue
            if not isinstance(number, int) or number > self.ack + 1 or not self.pending:
                self._broken(f"{kind!r} {number!r} came where reply {self.ack + 1} was due")
            if number <= self.ack:
                continue
            self.ack = number
            self.pending.popleft()
            if kind == "error":
                self.failed = True
                raise error_of(message)
            return message

    def columns(
        self, reply: Columns | Reply | dict[str, Any], kind: int, n: int, steps: int = 1
    ) -> Columns:
        """The columns of a binary reply, as views of the receive buffer."""
        if isinstance(reply, Columns):
            if kind == STEP_RESULT and n == reply.rows:
                return reply
            self._broken(f"a step's result came where a reply of type {kind} for {n} rows was due")
        if not isinstance(reply, Reply) or reply.kind != kind or reply.n != n:
            self._broken(f"{reply} came where a reply of type {kind} for {n} rows was due")
        buf, at, flags = self.ws.buf, reply.start, reply.flags & (FINAL_OBS | INFO | FINAL_INFO)
        if kind == STEP_MANY_RESULT:
            if reply.end - at < 8:
                self._broken("a STEP_MANY_RESULT without its T")
            done = int.from_bytes(buf[at : at + 4], "little")
            if not 1 <= done <= steps:
                self._broken(f"a STEP_MANY_RESULT of {done} steps where {steps} were asked")
            steps, at = done, at + 8
        rows = steps * n
        cached = self._views.get((rows, flags))
        if cached is not None and cached.at == at and cached.buf is buf:
            if reply.end != cached.end:
                self._broken(f"a reply of {reply.end - at} bytes where {cached.end - at} were due")
            return cached
        columns = Columns(buf, at, rows, self.dim, len(self.info_names), flags)
        if columns.end != reply.end or columns.aux != reply.aux:
            self._broken(f"a reply of {reply.end - at} bytes where {columns.end - at} were due")
        columns.steps = steps
        columns.map()
        if at == PAYLOAD_AT + 24:
            self._views[rows, flags] = columns
        return columns

    def drop(self, until: int) -> None:
        """Take and forget the replies up to a number."""
        while self.ack < until:
            try:
                self.take()
            except PlanegymError as e:
                if not self.alive or isinstance(e, ReplyTimeoutError):
                    raise

    def _broken(self, message: str, cause: BaseException | None = None) -> NoReturn:
        """The other end breaks the protocol: nothing it says can be trusted."""
        self.abandon()
        raise ProtocolError(f"{self.config.url}: {message}", fatal=True) from cause

    # --- ending

    def mine(self) -> bool:
        """Whether this process opened the session: after a fork it is the
        parent's, and a single byte written to it would spoil both."""
        return self.pid == _pid

    def abandon(self) -> None:
        """Hang up without a word."""
        self.alive = False
        self.pending.clear()
        self.ws.abort()
        if self.mine():
            self._link.stop.set()

    def close(self) -> None:
        """Tell the server, so that it frees the environment at once."""
        if self.alive and self.mine():
            with contextlib.suppress(_ws.WebSocketError, OSError):
                self.ws.settimeout(1.0)
                self.ws.send(_ws.TEXT, _goodbye(self.seq + 1, self.ack))
                self.ws.close(linger=1.0)
            self.abandon()
            self._keeper.join()
        else:
            self.abandon()


class _Link:
    """What outlives a session that is forgotten instead of closed."""

    def __init__(self, ws: _ws.WebSocket) -> None:
        self.ws = ws
        self.seq = 0
        self.pid = _pid
        self.stop = threading.Event()


def _keep(link: _Link, every: float) -> None:
    """Send a byte now and then: a learner computes for minutes between two
    steps, and the server frees a session that says nothing."""
    while not link.stop.wait(every):
        link.ws.keepalive()


def _say_farewell(link: _Link) -> None:
    if link.pid != _pid:
        return
    link.stop.set()
    if not link.ws.closed:
        with contextlib.suppress(_ws.WebSocketError, OSError):
            link.ws.settimeout(1.0)
            link.ws.send(_ws.TEXT, _goodbye(link.seq + 1, 0))
        link.ws.abort()


def _goodbye(number: int, ack: int) -> bytes:
    return to_json({"type": "close", "id": number, "ack": ack})
