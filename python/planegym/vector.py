"""Many environments stepped together, as gymnasium.vector.VectorEnv."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from gymnasium.vector import VectorEnv as GymnasiumVectorEnv
from gymnasium.vector.utils import batch_space

from ._config import DEFAULT_SCENARIO, RENDER_MODES, Described, Options, config
from ._config import render_mode as checked_mode
from ._messages import (
    RESET,
    RESET_RESULT,
    SEEDS,
    STEP,
    STEP_MANY,
    STEP_MANY_RESULT,
    STEP_RESULT,
    SUBSET,
    Columns,
)
from ._remote import Remote, action_space, observation_space, seed_u64
from ._render import Painter
from ._session import Session
from .env import actions_i32, fitting
from .errors import (
    InvalidRowsError,
    PendingError,
    PlanegymError,
    ReplyTimeoutError,
    ResetRequiredError,
)
from .ids import STEPS

if TYPE_CHECKING:
    from typing_extensions import Unpack

try:
    from gymnasium.vector import AutoresetMode
except ImportError:  # Gymnasium 1.0, which Stable-Baselines3 2.4 asks for
    from enum import Enum

    class AutoresetMode(Enum):  # type: ignore[no-redef]
        """What happens when an episode ends; Gymnasium 1.1 brought it."""

        NEXT_STEP = "NextStep"
        SAME_STEP = "SameStep"
        DISABLED = "Disabled"


_MODES = {
    AutoresetMode.NEXT_STEP: "next_step",
    AutoresetMode.SAME_STEP: "same_step",
    AutoresetMode.DISABLED: "disabled",
}

StepResult = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]


class Received(NamedTuple):
    """What recv gives: the rows that stepped and their results, in their order."""

    rows: np.ndarray
    obs: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    info: dict[str, Any]


class VectorEnv(Described, GymnasiumVectorEnv):
    """num_envs remote environments in one session.

    Connects like planegym.Env: lazily, anew after fork and pickle, resumed
    unnoticed where the server still has the session.

    Args:
        url, scenario, options: as for planegym.Env.
        num_envs: how many.
        autoreset_mode: Gymnasium's AutoresetMode, or its value ("NextStep", …)
            or name in the protocol ("next_step", "same_step", "disabled").
        copy: whether observations are the caller's. Without, they are views of
            a buffer that the next step overwrites, as in SyncVectorEnv.
        render_mode: as for planegym.Env; render gives a frame, or a text, for
            each row, and a window shows row 0.
        max_episode_steps: steps after which the server truncates, in place of
            the scenario's; gymnasium.make_vec passes it.
    """

    made: dict[str, Any]  # what the server says of it: limits, step_seconds, model_hash, …

    def __init__(
        self,
        url: str | None = None,
        scenario: str | None = None,
        num_envs: int = 1,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        copy: bool = True,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        mode = _mode(autoreset_mode)
        self.render_mode = checked_mode(render_mode, options.get("info", True))
        options = _bounded(options, scenario, max_episode_steps)
        self._remote = Remote(config(url, scenario, num_envs, _MODES[mode], options))
        self._describe(scenario, url=url, render_mode=render_mode, **options)
        self._painters: list[Painter] = []
        self._row_attributes: dict[str, tuple[Any, ...]] = {}
        self.num_envs = num_envs
        self.autoreset_mode = mode
        self.copy = copy
        self.metadata = {
            "render_modes": list(RENDER_MODES),
            "render_fps": 15,
            "autoreset_mode": mode,
        }
        self._forget()

    _acted: np.ndarray | None = None  # actions under way, where they are drawn

    def _forget(self) -> None:
        """What a new session does not know."""
        self._seeded = np.zeros(self.num_envs, bool)
        self._sent: deque[tuple[int, np.ndarray | None]] = deque()  # number, rows

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("_obs", None)
        state["_sent"] = deque()
        return state

    def __getattr__(self, name: str) -> Any:
        if name in _CONNECTED and "_remote" in self.__dict__:
            self._open()
            return self.__dict__[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _open(self) -> Session:
        if self._remote.fresh:
            self._forget()
        s = self._remote.open()
        if self.__dict__.get("made") is not s.made or "_obs" not in self.__dict__:
            self.made = s.made
            if "single_observation_space" not in self.__dict__:
                self.single_observation_space = observation_space(s.made)
                self.single_action_space = action_space(s.made)
                self.observation_space = batch_space(self.single_observation_space, self.num_envs)
                self.action_space = batch_space(self.single_action_space, self.num_envs)
                self._made(s.made)
            self._action_shape = (self.num_envs, *(self.single_action_space.shape or ()))
            self._obs = np.zeros((self.num_envs, s.dim), np.float32)
            if self.render_mode is not None and not self._painters:
                name = self._remote.config.scenario
                self._painters = [Painter(s.made, name) for _ in range(self.num_envs)]
                self._begins = np.zeros(self.num_envs, bool)
        return s

    # --- Gymnasium

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start episodes, in all rows or those of options["reset_mask"]; other
        options are of these episodes, as for planegym.Env.

        Row i takes seed + i, or seed[i]. A row without a seed goes on with its
        generator; where it was never seeded it draws one from np_random.
        Replies that are still outstanding are dropped.
        """
        mask, options = _reset_mask(options, self.num_envs)
        seeds: list[int | None]
        if seed is None:
            seeds = [None] * self.num_envs
        elif isinstance(seed, (int, np.integer)):
            super().reset(seed=int(seed))
            first = seed_u64(seed)
            seeds = [(first + i) % (1 << 64) for i in range(self.num_envs)]
        else:
            seeds = [None if v is None else seed_u64(v) for v in seed]
            if len(seeds) != self.num_envs:
                raise ValueError(f"seed: {len(seeds)} seeds for {self.num_envs} environments")
        s = self._open()
        rows = np.arange(self.num_envs) if mask is None else np.flatnonzero(mask)
        if not s.made.get("real_time") and seed is None and not self._seeded.all():
            draws = self.np_random.integers(1 << 63, size=self.num_envs)
            seeds = [None if k else int(d) for k, d in zip(self._seeded, draws, strict=True)]
        given = np.array([seeds[i] is not None for i in rows])
        info: dict[str, Any] = {}
        # Rows with a seed and rows without cannot share a request.
        parts = [p for p in (rows[given], rows[~given]) if len(p)]
        self._sent.clear()
        for part in parts:
            if options:
                obs, infos = s.reset_with(
                    options,
                    None if seeds[part[0]] is None else [int(seeds[i] or 0) for i in part],
                    None if len(part) == self.num_envs else part.tolist(),
                )
                self._obs[part] = obs
                self._seeded[part] = True
                for name, values in infos.items():
                    self._column(info, name, part, values, self.num_envs)
                continue
            columns = []
            flags = s.info_flag
            if seeds[part[0]] is not None:
                columns.append(np.array([seeds[i] for i in part], "<u8"))
                flags |= SEEDS
            if len(part) != self.num_envs:
                columns.append(part.astype("<u4"))
                flags |= SUBSET
            seq = s.send_batch(RESET, flags, len(part), *columns)
            s.drop(seq - 1)
            c = s.columns(s.take(), RESET_RESULT, len(part))
            self._obs[part] = c.obs
            self._seeded[part] = True
            self._infos(info, s, c, part)
        for i in rows.tolist() if self._painters else ():
            self._painters[i].reset(self._obs[i], _row(info, i))
            self._begins[i] = False
        self._show()
        return self._observations(), info

    def step(self, actions: Any) -> StepResult:
        """Gymnasium's step: step_async, then step_wait."""
        self.step_async(actions)
        return self.step_wait()

    def step_async(self, actions: Any) -> None:
        """Send a step of all rows; step_wait takes its result."""
        s = self._remote.current()
        if self._sent or s.pending:
            raise PendingError("a step is outstanding already")
        if self._painters:
            self._acted = np.array(actions)
        self._sent.append((s.send_step(fitting(actions, self._action_shape)), None))

    def step_wait(self, timeout: float | None = None) -> StepResult:
        """The result of step_async. timeout in seconds, default the
        environment's; after ReplyTimeoutError the call may be repeated."""
        s, _, c = self._next(timeout)
        actions, self._acted = self._acted, None
        self._obs[...] = c.obs
        info: dict[str, Any] = {}
        if c.final_obs is not None or c.info is not None:
            self._infos(info, s, c, None)
        if self._painters:
            self._paint(actions, c, info)
        return (
            self._obs.copy() if self.copy else self._obs,
            c.reward.astype(_F8),
            c.terminated.astype(_BOOL),
            c.truncated.astype(_BOOL),
            info,
        )

    def close_extras(self, **kwargs: Any) -> None:
        """End the session."""
        self._remote.close()
        for painter in self._painters:
            painter.close()

    def render(self) -> tuple[Any, ...] | None:
        """A frame u8 [H,W,3] of each row under "rgb_array", a text under "ansi",
        nothing under "human", whose window shows row 0."""
        if self.render_mode is None or self.render_mode == "human":
            return None
        if not self._painters or not all(p.begun for p in self._painters):
            raise ResetRequiredError("there is nothing to draw before the first reset")
        if self.render_mode == "ansi":
            return tuple(p.text() for p in self._painters)
        return tuple(p.frame() for p in self._painters)

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Gymnasium's call: an attribute of each row, or what a method of each
        gives. Rows have what set_attr gave them; the methods get_state and
        render; and the attributes of a planegym.Env, the same in all rows."""
        if name in self._row_attributes:
            return self._row_attributes[name]
        if name in ("get_state", "render"):
            return tuple(getattr(self, name)(*args, **kwargs))
        of_rows = {"observation_space", "action_space"}
        value = getattr(self, f"single_{name}" if name in of_rows else name)
        if callable(value) or name.startswith("_"):
            raise AttributeError(
                f"{name!r} is not an attribute of a row: rows are not objects on this side, "
                "so call the VectorEnv's own"
            )
        return (value,) * self.num_envs

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute of each row; see call."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Give each row an attribute, for get_attr: one value for all, or a list
        or tuple of one for each. What the server decides cannot be set."""
        if hasattr(type(self), name) or name in self.__dict__ or name in _CONNECTED:
            raise AttributeError(
                f"{name!r} cannot be set: make another environment, or give reset its options"
            )
        if not isinstance(values, (list, tuple)):
            values = [values] * self.num_envs
        if len(values) != self.num_envs:
            raise ValueError(f"{name}: {len(values)} values for {self.num_envs} environments")
        self._row_attributes[name] = tuple(values)

    # --- beyond Gymnasium

    def send(self, actions: Any, rows: Any = None) -> None:
        """Send a step of some rows (None: all) without waiting. Up to
        made["in_flight"] requests may be on the way; recv takes their results
        in the order of sending."""
        s = self._remote.current()
        if rows is None:
            self._sent.append((s.send_step(fitting(actions, self._action_shape)), None))
            return
        r = self._rows(rows)
        body = actions_i32(actions, (len(r), *self._action_shape[1:]))
        flags = s.info_flag | SUBSET
        self._sent.append((s.send_batch(STEP, flags, len(r), r.astype("<u4"), body), r))

    def recv(self, timeout: float | None = None) -> Received:
        """The result of the oldest send that was not received yet. An error of
        that send is raised here; those sent after it and before this call are
        then SkippedError, each from its own recv."""
        s, rows, c = self._next(timeout)
        r = np.arange(self.num_envs) if rows is None else rows
        self._obs[r] = c.obs
        info: dict[str, Any] = {}
        if c.final_obs is not None or c.info is not None:
            self._infos(info, s, c, None, len(r))
        return Received(
            r,
            c.obs.copy(),
            c.reward.astype(np.float64),
            c.terminated.astype(np.bool_),
            c.truncated.astype(np.bool_),
            info,
        )

    def step_many(self, actions: Any) -> StepResult:
        """Play T actions per row, [T,num_envs] (or [T,num_envs,S]), in one
        round trip. Results have T in front; infos too, with final_obs
        [T,num_envs,D] under SAME_STEP. With autoreset DISABLED it stops after
        the step that ended an episode, so that T may be less."""
        s = self._remote.current()
        if self._sent or s.pending:
            raise PendingError("a step is outstanding")
        steps, n = len(actions), self.num_envs
        body = actions_i32(actions, (steps, *self._action_shape))
        s.send_batch(STEP_MANY, s.info_flag, n, np.array([steps, 0], "<u4"), body)
        c = s.columns(s.take(), STEP_MANY_RESULT, n, steps)
        obs = c.obs.reshape(c.steps, n, s.dim).copy()
        self._obs[:] = obs[-1]
        terminated, truncated = c.terminated.astype(np.bool_), c.truncated.astype(np.bool_)
        info: dict[str, Any] = {}
        if c.final_obs is not None:
            info["final_obs"] = c.final_obs.reshape(c.steps, n, s.dim).copy()
            info["_final_obs"] = (terminated | truncated).reshape(c.steps, n)
        if c.info is not None:
            for i, name in enumerate(s.info_names):
                info[name] = c.info[:, i].reshape(c.steps, n).copy()
        return (
            obs,
            c.reward.reshape(c.steps, n).astype(np.float64),
            terminated.reshape(c.steps, n),
            truncated.reshape(c.steps, n),
            info,
        )

    def get_state(self, rows: Any = None) -> list[bytes]:
        """The states of rows (None: all); set_state of an equal environment takes them."""
        s = self._remote.current()
        which = {} if rows is None else {"rows": self._rows(rows).tolist()}
        reply = s.request("state", "state_result", env=s.env, **which)
        return [base64.b64decode(v) for v in reply["states"]]

    def set_state(self, states: Sequence[bytes], rows: Any = None) -> None:
        """Put states back, all of them or none."""
        s = self._open()
        which = {} if rows is None else {"rows": self._rows(rows).tolist()}
        text = [base64.b64encode(v).decode() for v in states]
        s.request("set_state", "state_set", env=s.env, states=text, **which)
        self._seeded[slice(None) if rows is None else self._rows(rows)] = True

    # --- parts

    def _rows(self, rows: Any) -> np.ndarray:
        r = np.asarray(rows)
        if r.dtype.kind not in "iu" or r.ndim != 1 or len(r) == 0:
            raise InvalidRowsError(f"rows {rows!r} are no list of integers")
        if r.min() < 0 or r.max() >= self.num_envs:
            raise InvalidRowsError(f"rows {rows!r} are not all in [0, {self.num_envs})")
        return r.astype(np.int64)

    def _next(self, timeout: float | None) -> tuple[Session, np.ndarray | None, Columns]:
        """The reply of the oldest send."""
        s = self._remote.current()
        if not self._sent:
            raise PlanegymError("nothing was sent, so nothing can be received")
        seq, rows = self._sent[0]
        if timeout is not None:
            s.ws.settimeout(timeout)
        try:
            if s.ack < seq - 1:
                s.drop(seq - 1)
            reply = s.take()
        except ReplyTimeoutError:
            raise
        except BaseException:
            if s.ack >= seq or not s.alive:
                self._sent.popleft()
            raise
        finally:
            if timeout is not None and s.alive:
                s.ws.settimeout(s.config.timeout)
        self._sent.popleft()
        if rows is None and reply is s.usual:
            return s, None, s.usual
        return s, rows, s.columns(reply, STEP_RESULT, self.num_envs if rows is None else len(rows))

    def _observations(self) -> np.ndarray:
        return self._obs.copy() if self.copy else self._obs

    def _infos(
        self,
        info: dict[str, Any],
        s: Session,
        c: Columns,
        rows: np.ndarray | None,
        n: int | None = None,
    ) -> None:
        """Add what a reply says of rows (None: all n) in Gymnasium's form: each
        array with a mask of the rows it speaks of."""
        n = n or self.num_envs
        at: Any = slice(None) if rows is None else rows
        if c.final_obs is not None:
            done = (c.terminated | c.truncated).astype(np.bool_)
            if done.any():
                final = np.full(n, None, object)
                for i in np.flatnonzero(done).tolist():
                    final[i] = c.final_obs[i].copy()
                info["final_obs"], info["_final_obs"] = final, done
                last: dict[str, Any] = {}
                if c.final_info is not None:
                    for i, name in enumerate(s.info_names):
                        self._column(last, name, done, c.final_info[done, i], n)
                info["final_info"], info["_final_info"] = last, done.copy()
        if c.info is not None:
            for i, name in enumerate(s.info_names):
                self._column(info, name, at, c.info[:, i], n)

    @staticmethod
    def _column(info: dict[str, Any], name: str, at: Any, values: np.ndarray, n: int) -> None:
        """Set what an info says of some of n rows, and its mask."""
        if name not in info:
            info[name], info["_" + name] = np.zeros(n, np.float32), np.zeros(n, np.bool_)
        info[name][at] = values
        info["_" + name][at] = True

    def _paint(self, actions: np.ndarray | None, c: Columns, info: dict[str, Any]) -> None:
        """Show a step to the painters. A row that was reset by it starts over."""
        done = (c.terminated | c.truncated) != 0
        assert actions is not None
        for i, painter in enumerate(self._painters):
            row = _row(info, i)
            if self._begins[i] or (done[i] and self.autoreset_mode == AutoresetMode.SAME_STEP):
                painter.reset(self._obs[i], row)
            else:
                painter.step(actions[i], float(c.reward[i]), self._obs[i], row)
        self._begins = done & (self.autoreset_mode == AutoresetMode.NEXT_STEP)
        self._show()

    def _show(self) -> None:
        if self.render_mode == "human" and self._painters[0].begun:
            self._painters[0].show(self.metadata["render_fps"])


_F8, _BOOL = np.dtype(np.float64), np.dtype(np.bool_)  # a dtype is found faster than a type

_CONNECTED = frozenset(
    ("observation_space", "action_space", "single_observation_space", "single_action_space", "made")
)


def _row(info: dict[str, Any], i: int) -> dict[str, Any]:
    """The infos of row i."""
    return {k: v[i] for k, v in info.items() if "_" + k in info and not k.startswith("final_")}


def _bounded(options: Options, scenario: str | None, steps: int | None) -> Options:
    """options under which the server truncates after some steps; Gymnasium's
    make_vec passes the registered number, which the scenario has by itself."""
    if steps is None or steps == STEPS.get(scenario or DEFAULT_SCENARIO):
        return options
    kwargs = dict(options.get("kwargs") or {})
    kwargs["env"] = {"max_steps": steps, **kwargs.get("env", {})}
    return {**options, "kwargs": kwargs}


def _mode(mode: str | AutoresetMode) -> AutoresetMode:
    if isinstance(mode, AutoresetMode):
        return mode
    for m, name in _MODES.items():
        if mode in (m.value, name):
            return m
    raise ValueError(f"autoreset_mode: {mode!r} is not one of {sorted(_MODES.values())}")


def _reset_mask(options: dict[str, Any] | None, n: int) -> tuple[np.ndarray | None, dict[str, Any]]:
    rest = dict(options or {})
    mask = rest.pop("reset_mask", None)
    if mask is None:
        return None, rest
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (n,):
        raise ValueError(f"options['reset_mask']: want a numpy array of {n} bools, got {mask!r}")
    if not mask.any():
        raise ValueError("options['reset_mask']: no row is True")
    return mask, rest
