"""A worker's side of planegym.v1: a connection's requests, in order."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np

from ._messages import HEADER, RESYNC, VERSION
from ._version import __version__
from ._worker_rows import Make, RefusedError, Rows
from ._worker_ws import MAX_REQUEST, GoneError, Wire
from ._ws import BINARY, TEXT


class Session:
    """A connection's requests, in order."""

    def __init__(self, wire: Wire, name: str, make: Make) -> None:
        self.wire, self.name, self.make = wire, name, make
        self.rows: dict[int, Rows] = {}
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
        raise GoneError

    def _error(self, number: int, e: RefusedError) -> None:
        row = {} if e.row is None else {"row": e.row}
        self.wire.say("error", id=number, code=e.code, message=e.message, **row)

    def _turn(self, number: Any) -> int:
        if number != self.next:
            self._fatal(0, "bad_frame", f"number {number!r} is out of turn: want {self.next}")
        self.next += 1
        return int(number)

    def _of(self, env: Any) -> Rows:
        if env not in self.rows:
            raise RefusedError("unknown_env", f"env {env!r}: there are {sorted(self.rows)}")
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
                raise RefusedError("bad_frame", f"a worker has no {kind!r}")
            reply, fields = answer(m)
        except RefusedError as e:
            self._error(number, e)
            return
        self.wire.say(reply, id=number, **fields)
        if reply == "closed" and not m.get("env"):
            self.wire.end(1000)

    def _on_make(self, m: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        name, n = m.get("scenario"), m.get("num_envs")
        if name != self.name:
            raise RefusedError("unknown_scenario", f"{name!r}: there is {self.name!r}")
        if not isinstance(n, int) or n < 1:
            raise RefusedError("invalid_config", f"num_envs: {n!r} is not 1 or more")
        if m.get("autoreset", "next_step") != "disabled":
            raise RefusedError(
                "invalid_config",
                "autoreset: a worker has 'disabled'; planegym serve --worker has all",
            )
        if m.get("model"):
            raise RefusedError("model_unavailable", f"model {m['model']!r}: a worker has none")
        rows = Rows(self.make, n, m.get("kwargs") or {})
        self.made += 1
        self.rows[self.made] = rows
        return "made", {"env": self.made, "scenario": name, **rows.made()}

    def _on_reset(self, m: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        r = self._of(m.get("env"))
        if m.get("options"):
            raise RefusedError("bad_frame", f"options: {sorted(m['options'])}: a worker takes none")
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
            raise RefusedError("invalid_action", f"actions: {e}") from e
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
        raise RefusedError("bad_snapshot", "an environment of a worker takes no snapshots")

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
                raise RefusedError("skipped", "an earlier request failed")
            rows.failed = False
            self.wire.send(BINARY, rows.answer(kind, flags, env, n, aux, seq, data))
        except RefusedError as e:
            if rows is not None:
                rows.failed = True
            self._error(seq, e)
