"""From a remote environment, or from recordings, to an offline dataset; needs minari."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from . import ids
from ._episodes import Episode, read_episodes

if TYPE_CHECKING:
    from .env import Env

Policy = Callable[[np.ndarray], Any]


def to_minari(
    env: Env,
    dataset_id: str,
    *,
    episodes: int,
    policy: Policy | None = None,
    seed: int = 0,
    **metadata: Any,
) -> Any:
    """Play episodes and save them as a Minari dataset.

    Args:
        env: where to play; it goes on being the caller's.
        dataset_id: Minari's name, like "planegym/cartpole/random-v0".
        episodes: how many; episode i is reset with seed + i.
        policy: from an observation to an action; None samples the action space.
        seed: of the first episode and of the sampling.
        metadata: passed to minari.create_dataset_from_buffers (author,
            algorithm_name, description, …).

    Returns:
        The minari.MinariDataset.
    """
    minari, EpisodeBuffer = _minari("to_minari")  # noqa: N806
    if episodes < 1:
        raise ValueError(f"episodes: {episodes} is less than 1")
    env.action_space.seed(seed)
    buffers = []
    for i in range(episodes):
        obs, info = env.reset(seed=seed + i)
        buffer = EpisodeBuffer(
            id=i,
            seed=seed + i,
            observations=[obs],
            actions=[],
            infos={name: [value] for name, value in info.items()} or None,
        )
        over = False
        while not over:
            action = env.action_space.sample() if policy is None else policy(obs)
            obs, reward, terminated, truncated, info = env.step(action)
            buffer.actions.append(np.asarray(action))
            buffer.observations.append(obs)
            buffer.rewards.append(reward)
            buffer.terminations.append(terminated)
            buffer.truncations.append(truncated)
            for name, value in info.items():
                buffer.infos[name].append(value)
            over = terminated or truncated
        buffers.append(buffer)
    return minari.create_dataset_from_buffers(
        dataset_id,
        buffers,
        env=env,
        **metadata,
    )


def recording_to_minari(
    recording: str | os.PathLike[str] | Iterable[Episode],
    dataset_id: str,
    *,
    env: Env | None = None,
    cut: bool = True,
    **metadata: Any,
) -> Any:
    """Save recorded episodes (serve --record, play --record) as a Minari dataset.

    Infos, seeds and flags are those of the recording. Nothing is played.

    Args:
        recording: a Parquet file or a folder of them, or what read_episodes gave; all
            of one scenario.
        dataset_id: Minari's name, like "planegym/synthetic/recorded-v0".
        env: gives the spaces and the spec. None: bounds of observations are infinite,
            and the spec is that of the scenario's Gymnasium id, where it has one.
        cut: keep episodes that the recording ended, as truncated ones.
        metadata: passed to minari.create_dataset_from_buffers.

    Returns:
        The minari.MinariDataset.

    Raises:
        FileNotFoundError, ValueError: as read_episodes; there is no episode to keep, or
            they are not of one scenario and its spaces.
    """
    minari, EpisodeBuffer = _minari("recording_to_minari")  # noqa: N806
    if isinstance(recording, (str, os.PathLike)):
        recording = read_episodes(recording)
    episodes = [e for e in recording if cut or not e.cut]
    if not episodes:
        raise ValueError("recording: there is no episode to keep")
    first = episodes[0]

    def spaces(e: Episode) -> tuple[Any, ...]:
        return e.scenario, e.elements, e.choices, e.limits, e.observations.shape[1], tuple(e.infos)

    for i, e in enumerate(episodes):
        if spaces(e) != spaces(first):
            raise ValueError(
                f"recording: episode {i} is of {e.scenario!r} and its spaces or infos are not "
                f"those of episode 0, of {first.scenario!r}: convert them apart"
            )
    dim = first.observations.shape[1]
    if env is not None:
        source: gymnasium.Env[Any, Any] = env
    else:
        choices = first.choices or tuple(
            np.max([e.actions.reshape(len(e.actions), -1).max(0) for e in episodes], 0) + 1
        )
        observation = gymnasium.spaces.Box(-np.inf, np.inf, (dim,), np.float32)
        action = (
            gymnasium.spaces.Discrete(int(choices[0]))
            if first.actions.ndim == 1
            else gymnasium.spaces.MultiDiscrete(list(choices))
        )
        known = {v: k for k, v in ids.IDS.items()}.get(first.scenario)
        source = _Described(observation, action, gymnasium.spec(known) if known else None)
    buffers = [
        EpisodeBuffer(
            id=i,
            seed=e.seed if e.seed < 1 << 63 else None,  # HDF5 has it signed
            observations=list(e.observations),
            actions=[np.asarray(a, source.action_space.dtype) for a in e.actions],
            rewards=[float(r) for r in e.rewards],
            terminations=[bool(f) for f in e.terminations],
            truncations=[bool(f) for f in e.truncations],
            infos={k: list(v) for k, v in e.infos.items()} or None,
        )
        for i, e in enumerate(episodes)
    ]
    return minari.create_dataset_from_buffers(
        dataset_id,
        buffers,
        env=source,
        **metadata,
    )


class _Described(gymnasium.Env[Any, Any]):
    """Spaces and spec of an environment that is not there: Minari makes one of a spec."""

    def __init__(self, observation: Any, action: Any, spec: Any) -> None:
        self.observation_space, self.action_space, self.spec = observation, action, spec


def _minari(caller: str) -> tuple[Any, Any]:
    """Minari, and its EpisodeBuffer."""
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
    except ImportError as e:
        raise ImportError(f"{caller} needs minari: pip install 'minari[hdf5]' pillow") from e
    return minari, EpisodeBuffer
