# needs: gymnasium pygame moviepy
# shows: `check_env` and wrappers on every id that needs no recordings, `make_vec`, `RecordVideo`
from __future__ import annotations

import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np
from gymnasium import wrappers
from gymnasium.utils.env_checker import check_env

import planegym

for env_id, scenario in planegym.SCENARIOS.items():
    if scenario in ("replay", "tutorial"):
        continue
    env = gym.make(env_id, render_mode="rgb_array")
    check_env(env.unwrapped)
    for wrap in (
        wrappers.RecordEpisodeStatistics,
        wrappers.FlattenObservation,
        wrappers.NormalizeObservation,
        wrappers.NormalizeReward,
        lambda e: wrappers.FrameStackObservation(e, 3),
        wrappers.TimeAwareObservation,
    ):
        wrapped = wrap(env)
        obs, _ = wrapped.reset(seed=1)
        assert np.shape(obs) == wrapped.observation_space.shape
        wrapped.step(wrapped.action_space.sample())
    env.close()
    for mode in ("vector_entry_point", "sync"):
        vec = gym.make_vec(env_id, 3, vectorization_mode=mode)
        vec.reset(seed=1)
        assert vec.step(vec.action_space.sample())[0].shape[0] == 3
        vec.close()
with tempfile.TemporaryDirectory() as folder:
    env = gym.make("planegym/Synthetic-v0", render_mode="rgb_array", max_episode_steps=20)
    env = wrappers.RecordVideo(env, folder, disable_logger=True)
    env.reset(seed=1)
    while not any(env.step(env.action_space.sample())[2:4]):
        pass
    env.close()
    assert len(list(Path(folder).glob("*.mp4"))) == 1
