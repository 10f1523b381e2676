"""One environment, as gymnasium.Env."""

from __future__ import annotations

import base64
import struct
from operator import index
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from ._config import RENDER_MODES, Described, Options, config
from ._config import render_mode as checked_mode
from ._messages import (
    RESET,
    RESET_RESULT,
    SEEDS,
    STEP,
    STEP_MANY,
    STEP_MANY_RESULT,
    STEP_RESULT,
    Columns,
)
from ._remote import Remote, action_space, observation_space, seed_u64
from ._render import Painter
from ._session import Session
from .errors import InvalidActionError, PendingError, ResetRequiredError

if TYPE_CHECKING:
    from typing_extensions import Unpack

_tail = struct.Struct("<fB3xB3x").unpack_from  # of one row: reward, terminated, truncated


class Env(Described, gymnasium.Env[np.ndarray, Any]):
    """A remote environment.

    It connects at the first reset, or when a space is asked for; so it can be
    pickled and forked before and after, and the copy connects on its own.
    A connection that breaks is resumed unnoticed where the server still has
    the session; otherwise SessionLostError asks for a reset.

    Args:
        url: ws://host:port, wss://host or unix:///path; default PLANEGYM_URL,
            then a server on this machine.
        scenario: what to step; `planegym scenario list` names them.
        render_mode: "rgb_array" (render gives a frame, [H,W,3] u8), "human" (a
            window, drawn at each step) or "ansi" (render gives a few lines of
            text). Frames are drawn here, from infos; that needs pygame.
        options: see planegym.Options.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 15}  # noqa: RUF012 (Gymnasium's form)

    made: dict[str, Any]  # what the server says of it: limits, step_seconds, model_hash, …

    def __init__(
        self,
        url: str | None = None,
        scenario: str | None = None,
        *,
        render_mode: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.render_mode = checked_mode(render_mode, options.get("info", True))
        self._remote = Remote(config(url, scenario, 1, "disabled", options))
        self._describe(scenario, url=url, render_mode=render_mode, **options)
        self._seeded = False
        self._painter: Painter | None = None

    def __getattr__(self, name: str) -> Any:
        # Only attributes that the connection brings are looked up here.
        if name in ("observation_space", "action_space", "made") and "_remote" in self.__dict__:
            self._open()
            return self.__dict__[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _open(self) -> Session:
        if self._remote.fresh:
            self._seeded = False
        s = self._remote.open()
        if self.__dict__.get("made") is not s.made:
            self.made = s.made
            if "observation_space" not in self.__dict__:
                self.observation_space = observation_space(s.made)
                self.action_space = action_space(s.made)
                self._made(s.made)
            self._scalar = s.switches == 1
            if self.render_mode is not None and self._painter is None:
                self._painter = Painter(s.made, self._remote.config.scenario)
        return s

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode. Without a seed the generator goes on; an
        environment that was never seeded draws one from np_random.

        options are of this episode alone, of those that the server lists for
        the scenario (made["reset_options"]), such as
        {"initial_limit": 32, "load": 1.2}.
        """
        super().reset(seed=seed)
        s = self._open()
        if seed is None and not self._seeded and not s.made.get("real_time"):
            seed = int(self.np_random.integers(1 << 63))
        if options:
            obs, infos = s.reset_with(options, None if seed is None else [seed_u64(seed)])
            self._seeded = True
            info = {k: v[0] for k, v in infos.items()}
            self._paint_reset(obs[0], info)
            return obs[0], info
        if seed is None:
            seq = s.send_batch(RESET, s.info_flag, 1)
        else:
            seq = s.send_batch(
                RESET, s.info_flag | SEEDS, 1, np.array([seed_u64(seed)], dtype="<u8")
            )
        s.drop(seq - 1)
        c = s.columns(s.take(), RESET_RESULT, 1)
        self._seeded = True
        row, info = c.row.copy(), self._info(s, c)
        self._paint_reset(row, info)
        return row, info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Gymnasium's step. Nothing is stepped where it raises, but for
        ReplyTimeoutError, after which only a reset knows where it stands."""
        s = self._remote.current()
        if s.pending:
            raise ResetRequiredError("the last step was never answered, so its outcome is unknown")
        if self._scalar:
            try:
                a = index(action)
            except TypeError:
                a = whole(action)
            if not 0 <= a < 1 << 31:
                raise InvalidActionError(f"action {a} is not in {self.action_space}")
            s.send_single(a)
        else:
            s.send_batch(STEP, s.info_flag, 1, actions_i32(action, (s.switches,)))
        c = s.columns(s.take(), STEP_RESULT, 1)
        reward, terminated, truncated = _tail(c.buf, c.reward_at)
        info = {} if c.info is None else self._info(s, c)
        if self._painter is not None:
            self._paint_step(action, reward, c.row, info)
        return c.row.copy(), reward, terminated != 0, truncated != 0, info

    def step_many(
        self, actions: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Play T actions [T] (or [T,S]) in one round trip. It stops after the
        step that ends the episode, so the results may be shorter than T."""
        s = self._remote.current()
        if s.pending:
            raise PendingError("the last step was never answered")
        steps = len(actions)
        body = actions_i32(actions, (steps,) if self._scalar else (steps, s.switches))
        s.send_batch(STEP_MANY, s.info_flag, 1, np.array([steps, 0], "<u4"), body)
        c = s.columns(s.take(), STEP_MANY_RESULT, 1, steps)
        info = {}
        if c.info is not None:
            info = {k: c.info[:, i].copy() for i, k in enumerate(s.info_names)}
        return (
            c.obs.copy(),
            c.reward.astype(np.float64),
            c.terminated.astype(bool),
            c.truncated.astype(bool),
            info,
        )

    def get_state(self) -> bytes:
        """The environment's state; set_state of an equal environment takes it."""
        s = self._remote.current()
        reply = s.request("state", "state_result", env=s.env)
        return base64.b64decode(reply["states"][0])

    def set_state(self, state: bytes) -> None:
        """Put a state back: what follows is what followed get_state."""
        s = self._open()
        s.request("set_state", "state_set", env=s.env, states=[base64.b64encode(state).decode()])
        self._seeded = True

    def render(self) -> Any:
        """A frame [H,W,3] of u8 under "rgb_array", text under "ansi", nothing
        under "human", whose window follows the steps, and without a mode."""
        if self.render_mode is None:
            gymnasium.logger.warn(
                "render() draws nothing without a render_mode: "
                'planegym.make(…, render_mode="rgb_array")'
            )
            return None
        if self._painter is None or not self._painter.begun:
            raise ResetRequiredError("there is nothing to draw before the first reset")
        if self.render_mode == "ansi":
            return self._painter.text()
        if self.render_mode == "human":
            self._painter.show(self.metadata["render_fps"])
            return None
        return self._painter.frame()

    def close(self) -> None:
        """End the session. Closing again does nothing."""
        self._remote.close()
        if self._painter is not None:
            self._painter.close()

    def _info(self, s: Session, c: Columns) -> dict[str, Any]:
        if c.info is None:
            return {}
        return dict(zip(s.info_names, c.info[0].copy(), strict=True))

    def _paint_reset(self, obs: np.ndarray, info: dict[str, Any]) -> None:
        if self._painter is not None:
            self._painter.reset(obs, info)
            if self.render_mode == "human":
                self.render()

    def _paint_step(
        self, action: Any, reward: float, obs: np.ndarray, info: dict[str, Any]
    ) -> None:
        assert self._painter is not None
        self._painter.step(action, reward, obs, info)
        if self.render_mode == "human":
            self.render()


_I4, _I8, _U8 = np.dtype("<i4"), np.dtype("<i8"), np.dtype("<u8")


def fitting(actions: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Actions of a shape, each of which fits "<i4": the same array where that can be."""
    if type(actions) is np.ndarray and actions.shape == shape:
        if actions.dtype == _I8:
            # Without their signs negative ones are the largest of all.
            bits = actions.view(_U8)
            if bits.item(bits.argmax()) < 1 << 31:
                return actions
        elif actions.dtype == _I4:
            return actions
    return actions_i32(actions, shape)


def whole(action: Any) -> int:
    """The integer that an action is: a number, or an array of one, without a fraction."""
    a = np.asarray(action)
    if a.size == 1 and a.dtype.kind in "iuf":
        value = a.item()
        if value == value // 1 and abs(value) < 1 << 53:
            return int(value)
    raise InvalidActionError(f"action {action!r} is not an integer")


def actions_i32(actions: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Actions as contiguous int32 of a shape; what would not survive is refused.
    Floats without a fraction pass, and [n,1] where [n] is due."""
    a = np.asarray(actions)
    if a.dtype.kind not in "iuf":
        raise InvalidActionError(f"actions of type {a.dtype} are no integers")
    if a.shape == (*shape, 1):
        a = a[..., 0]
    if a.shape != shape:
        raise InvalidActionError(f"actions of shape {a.shape} where {shape} was due")
    if a.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            out = np.ascontiguousarray(a, dtype="<i4")
    else:
        out = np.ascontiguousarray(a, dtype="<i4")
    if (a.dtype.itemsize > 4 or a.dtype.kind == "f") and not np.array_equal(out, a):
        row = int(np.argwhere(out != a)[0][0])
        what = "is not an integer" if a.dtype.kind == "f" else "does not fit 32 bits"
        raise InvalidActionError(f"row {row}: an action {what}", row=row)
    return out
