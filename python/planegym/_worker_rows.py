"""The environments of a worker's session: checked, stepped, and encoded as planegym.v1 has it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from ._messages import (
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

Make = Callable[..., gymnasium.Env[Any, Any]]
LARGEST = float(np.finfo(np.float32).max)
log = logging.getLogger("planegym")


class RefusedError(Exception):
    """An error reply."""

    def __init__(self, code: str, message: str, row: int | None = None) -> None:
        self.code, self.message, self.row = code, message, row
        super().__init__(message)


class Rows:
    """num_envs environments, and what each returned last."""

    def __init__(self, make: Make, n: int, kwargs: dict[str, Any]) -> None:
        self.envs: list[gymnasium.Env[Any, Any]] = []
        try:
            for _ in range(n):
                self.envs.append(make(**kwargs))
        except Exception as e:
            self.close()
            code = "invalid_config" if isinstance(e, (TypeError, ValueError)) else "env_error"
            raise RefusedError(code, f"{type(e).__name__}: {e}") from e
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
            raise RefusedError("invalid_config", f"{type(e).__name__}: {e}") from e
        d = len(self.low)
        names = (first.metadata or {}).get("elements")
        if names is None:
            names = ["obs"] if d == 1 else [f"obs{i}" for i in range(d)]
        if len(names) != d:
            self.close()
            raise RefusedError("invalid_config", f"metadata elements: {len(names)} names of {d}")
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
            raise RefusedError("invalid_rows", "rows: want a list of numbers")
        if len(set(at.tolist())) < len(at) or at.min() < 0 or at.max() >= len(self.envs):
            raise RefusedError("invalid_rows", f"rows: {at.tolist()}: there are {len(self.envs)}")
        return at.astype(np.int64)

    def reset(self, rows: np.ndarray, seeds: Sequence[int] | None) -> None:
        if seeds is not None and len(seeds) != len(rows):
            raise RefusedError("invalid_rows", f"{len(seeds)} seeds of {len(rows)} rows")
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
            raise RefusedError(
                "invalid_action",
                f"row {rows[i]}: {actions[i, s]} is not in [0, {self.choices[s]})", int(rows[i]),
            )  # fmt: skip
        for row in rows.tolist():
            if not self.started[row]:
                raise RefusedError("reset_required", f"row {row}: reset it before a step", row)
            if self.over[row]:
                raise RefusedError("episode_over", f"row {row}: its episode is over", row)

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
            log.warning("worker: row %d", row, exc_info=not isinstance(e, RefusedError))
            message = e.message if isinstance(e, RefusedError) else f"{type(e).__name__}: {e}"
            raise RefusedError("env_error", f"row {row}: {message}", row) from e

    def _take(
        self, row: int, obs: Any, info: Any, reward: float, terminated: bool, truncated: bool
    ) -> None:
        flat = np.asarray(spaces.flatten(self.space, obs), np.float32).ravel()
        if flat.shape != self.low.shape:
            raise RefusedError("env_error", f"an observation of {len(flat)} of {len(self.low)}")
        if not np.isfinite(flat).all():
            k = int(np.flatnonzero(~np.isfinite(flat))[0])
            raise RefusedError("env_error", f"observation {self.names[k]} is {flat[k]}")
        if not np.isfinite(np.float32(reward)):
            raise RefusedError("env_error", f"reward is {reward}")
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
            raise RefusedError("bad_frame", f"type {kind}, flags {flags:#x}, aux_len {aux}")
        if kind == STEP_MANY:
            steps, at = int.from_bytes(data[at : at + 4], "little"), at + 8
        if n < 1 or n > len(self.envs) or (not flags & SUBSET and n != len(self.envs)):
            raise RefusedError("invalid_rows", f"n is {n}, there are {len(self.envs)}")
        words = 0 if kind == RESET else n * s * steps
        want = at + (8 * n if flags & SEEDS else 0) + (4 * n if flags & SUBSET else 0) + 4 * words
        if steps < 1 or len(data) != want:
            raise RefusedError("bad_frame", f"{len(data)} bytes, want {want}")
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
