"""Step planegym environments from Python.

    import planegym

    with planegym.launch() as server:
        env = planegym.make(server.url, "cartpole")
        obs, info = env.reset(seed=1)
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample())

make gives a gymnasium.Env, VectorEnv a gymnasium.vector.VectorEnv,
planegym.sb3.VecEnv Stable-Baselines3's, planegym.pettingzoo.ParallelEnv
PettingZoo's with an agent a switch, planegym.ray what Ray needs.
planegym.launch(workers={…}) serves environments of your own.
Gymnasium has an id for each bundled scenario, such as planegym/Synthetic-v0:
gymnasium.make("planegym:planegym/Synthetic-v0") finds it without an import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import ids
from ._config import DEFAULT_URL, Options
from ._episodes import Episode, read_episodes
from ._launch import Server, launch
from ._minari import recording_to_minari, to_minari
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
from .masks import ActionMask
from .vector import Received, VectorEnv

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "DEFAULT_URL",
    "SCENARIOS",
    "ActionMask",
    "BadFrameError",
    "BadSnapshotError",
    "BadVersionError",
    "BinaryNotFoundError",
    "CapacityError",
    "ClosedError",
    "DrainingError",
    "Env",
    "EnvError",
    "Episode",
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
    "read_episodes",
    "recording_to_minari",
    "to_minari",
]


def make(url: str | None = None, scenario: str | None = None, **options: Unpack[Options]) -> Env:
    """One environment; see Env for the arguments."""
    return Env(url, scenario, **options)


# Gymnasium's ids, and the scenario of each.
SCENARIOS = ids.IDS
ids.register()
