"""Step planegym environments from Python.

    import planegym

    with planegym.launch() as server:
        env = planegym.make(server.url, "cartpole")
        obs, info = env.reset(seed=1)
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample())

make gives a gymnasium.Env, VectorEnv a gymnasium.vector.VectorEnv,
planegym.sb3.VecEnv Stable-Baselines3's. Importing the package registers
planegym/CartPole-v0 and its like with Gymnasium.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gymnasium

from ._config import DEFAULT_URL, Options
from ._launch import Server, launch
from ._minari import to_minari
from ._version import __version__
from .env import Env
from .errors import (
    BadFrameError,
    BadSnapshotError,
    BadVersionError,
    BinaryNotFoundError,
    CapacityError,
    ClosedError,
    DrainingError,
    EnvError,
    EpisodeOverError,
    InternalError,
    InvalidActionError,
    InvalidConfigError,
    InvalidRowsError,
    LaunchError,
    ModelUnavailableError,
    PendingError,
    PlanegymError,
    ProtocolError,
    RateLimitedError,
    ReplyTimeoutError,
    ResetRequiredError,
    ServerNotRunningError,
    SessionBusyError,
    SessionLostError,
    SkippedError,
    SlowConsumerError,
    StepTimeoutError,
    UnauthorizedError,
    UnknownEnvError,
    UnknownScenarioError,
)
from .vector import Received, VectorEnv

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "DEFAULT_URL",
    "SCENARIOS",
    "BadFrameError",
    "BadSnapshotError",
    "BadVersionError",
    "BinaryNotFoundError",
    "CapacityError",
    "ClosedError",
    "DrainingError",
    "Env",
    "EnvError",
    "EpisodeOverError",
    "InternalError",
    "InvalidActionError",
    "InvalidConfigError",
    "InvalidRowsError",
    "LaunchError",
    "ModelUnavailableError",
    "Options",
    "PendingError",
    "PlanegymError",
    "ProtocolError",
    "RateLimitedError",
    "Received",
    "ReplyTimeoutError",
    "ResetRequiredError",
    "Server",
    "ServerNotRunningError",
    "SessionBusyError",
    "SessionLostError",
    "SkippedError",
    "SlowConsumerError",
    "StepTimeoutError",
    "UnauthorizedError",
    "UnknownEnvError",
    "UnknownScenarioError",
    "VectorEnv",
    "__version__",
    "launch",
    "make",
    "to_minari",
]


def make(url: str | None = None, scenario: str | None = None, **options: Unpack[Options]) -> Env:
    """One environment; see Env for the arguments."""
    return Env(url, scenario, **options)


# Gymnasium's ids of the scenarios that every server has.
SCENARIOS = {
    "planegym/CartPole-v0": "cartpole",
    "planegym/Replay-v0": "replay",
    "planegym/Tutorial-v0": "tutorial",
}

for _id, _scenario in SCENARIOS.items():
    if _id not in gymnasium.registry:
        gymnasium.register(
            _id,
            entry_point="planegym.env:Env",
            vector_entry_point="planegym.vector:VectorEnv",
            kwargs={"scenario": _scenario},
        )
