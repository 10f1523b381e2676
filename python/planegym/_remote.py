"""What Env and VectorEnv share: a session that opens when it is first needed."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np
from gymnasium import spaces

from ._session import Config, Session
from .errors import ClosedError, ProtocolError, ResetRequiredError, SessionLostError


class Remote:
    """A session that opens lazily, and anew after a fork, a pickle or a loss."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.closed = False
        self._session: Session | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config, "closed": self.closed, "_session": None}

    def open(self) -> Session:
        """The session, opened if need be."""
        if self.closed:
            raise ClosedError("the environment is closed")
        s = self._session
        if s is not None and s.mine() and s.alive:
            return s
        if s is not None:
            s.abandon()
        self._session = Session(self.config)
        return self._session

    def current(self) -> Session:
        """The open session, for what makes sense within an episode only."""
        s = self._session
        if s is not None and s.alive and s.mine():
            return s
        if self.closed:
            raise ClosedError("the environment is closed")
        if s is not None and s.mine():
            raise SessionLostError("the session was lost")
        raise ResetRequiredError("this environment was never reset in this process")

    @property
    def fresh(self) -> bool:
        """Whether the next open makes a new session."""
        s = self._session
        return s is None or not s.alive or not s.mine()

    def close(self) -> None:
        self.closed = True
        s, self._session = self._session, None
        if s is not None:
            s.close()


def observation_space(made: dict[str, Any]) -> spaces.Box:
    """made's observation_space as Gymnasium's."""
    try:
        o = made["observation_space"]
        low, high = (np.array([float(v) for v in o[k]], np.float32) for k in ("low", "high"))
        return spaces.Box(low, high, dtype=np.float32)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, AssertionError) as e:
        raise ProtocolError(f"the server's observation_space makes no sense: {e}") from e


def action_space(made: dict[str, Any]) -> spaces.Discrete | spaces.MultiDiscrete:
    """made's action_space as Gymnasium's: Discrete where one action steers all."""
    try:
        n = made["action_space"]["n"]
        return spaces.Discrete(n[0]) if len(n) == 1 else spaces.MultiDiscrete(n)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, AssertionError) as e:
        raise ProtocolError(f"the server's action_space makes no sense: {e}") from e


def seed_u64(seed: Any) -> int:
    """A seed as the protocol takes it."""
    s = index(seed)
    if not 0 <= s < 1 << 64:
        raise ValueError(f"seed: {s} is not in [0, 2**64)")
    return s
