"""From a remote environment to an offline dataset; needs minari."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

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
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
    except ImportError as e:
        raise ImportError("to_minari needs minari: pip install 'minari[hdf5]' pillow") from e
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
        env=env.spec,
        observation_space=env.observation_space,
        action_space=env.action_space,
        **metadata,
    )
