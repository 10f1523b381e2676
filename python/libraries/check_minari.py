# needs: minari[hdf5,create] pillow gymnasium
# shows: `DataCollector`, `to_minari`, `env_spec`, `recover_environment`, infos
from __future__ import annotations

import os
import tempfile

import gymnasium as gym
import minari
import numpy as np

import planegym

if __name__ == "__main__":
    os.environ["MINARI_DATASETS_PATH"] = tempfile.mkdtemp()
    env = minari.DataCollector(
        gym.make("planegym/Synthetic-v0", max_episode_steps=20), record_infos=True
    )
    for seed in range(3):
        env.reset(seed=seed)
        while not any(env.step(env.action_space.sample())[2:4]):
            pass
    dataset = env.create_dataset("planegym/synthetic/collected-v0", algorithm_name="random")
    assert dataset.total_steps == 60
    env.close()
    env = planegym.make(None, "synthetic", kwargs={"env": {"max_steps": 20}})
    made = planegym.to_minari(env, "planegym/synthetic/made-v0", episodes=2, seed=5)
    for d in (dataset, made):
        again = d.recover_environment()
        assert again.spec.id == "planegym/Synthetic-v0"
        episode = d[0]
        seed = 0 if d is dataset else 5
        assert np.array_equal(again.reset(seed=seed)[0], episode.observations[0])
        for action, reward in zip(episode.actions, episode.rewards, strict=True):
            assert again.step(action)[1] == reward
        assert episode.infos["lbo_s"].shape == (21,)
        assert episode.truncations[-1]
        again.close()
    env.close()
