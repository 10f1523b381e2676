"""Stable-Baselines3's PPO and DQN on scenario synthetic, with settings that work:
the curves beside planegym's own agents in docs/environments/synthetic.md.

    pip install './python[sb3]'
    python bench/python_sb3.py [--seeds 3] [--csv curves.csv] [--algorithms ppo,dqn]

Every --every transitions the greedy policy plays --episodes evaluation episodes
(seeds that training does not use). Rows go to stdout as they come.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from typing import Any

import numpy as np
import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor

import planegym
from planegym.sb3 import VecEnv

# Observations lie in 0 … 1 and a step pays -2 … 2, so nothing is normalised.
# An action shows in the buffer up to a minute (15 steps) later.
SETTINGS: dict[str, dict[str, Any]] = {
    "ppo": {
        "n_steps": 256,
        "batch_size": 256,
        "n_epochs": 10,
        "learning_rate": 1e-3,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "ent_coef": 0.01,
    },
    "dqn": {
        "learning_rate": 5e-4,
        "buffer_size": 50_000,
        "learning_starts": 1_000,
        "batch_size": 64,
        "gamma": 0.99,
        "train_freq": 1,
        "gradient_steps": 8,
        "target_update_interval": 1_000,
        "exploration_fraction": 0.25,
        "exploration_final_eps": 0.04,
    },
}
STEPS = {"ppo": 131_072, "dqn": 60_000}
ENVS = 8


def evaluate(model: Any, url: str, episodes: int) -> float:
    """Mean return of greedy episodes."""
    env = VecEnv(url, "synthetic", episodes)
    env.seed(1_000_000)
    obs = env.reset()
    total = np.zeros(episodes)
    for _ in range(900):
        action, _ = model.predict(obs, deterministic=True)
        obs, reward, _, _ = env.step(action)
        total += reward
    env.close()
    return float(total.mean())


class Curve(BaseCallback):
    """Evaluates every so many transitions and writes a row."""

    def __init__(self, row: list[Any], url: str, every: int, episodes: int, out: Any) -> None:
        super().__init__()
        self.row, self.url, self.every, self.episodes, self.out = row, url, every, episodes, out
        self.next, self.began = 0, time.perf_counter()

    def _on_step(self) -> bool:
        if self.num_timesteps >= self.next:
            self.next = self.num_timesteps + self.every
            value = evaluate(self.model, self.url, self.episodes)
            seconds = time.perf_counter() - self.began
            self.out.writerow([*self.row, self.num_timesteps, round(value, 1), round(seconds, 1)])
            sys.stdout.flush()
        return True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--algorithms", default="ppo,dqn")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--every", type=int, default=16_384)
    parser.add_argument("--episodes", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(1)
    out = csv.writer(sys.stdout)
    out.writerow(["algorithm", "seed", "transitions", "return", "seconds"])
    with planegym.launch(scenario="synthetic") as server:
        for name in args.algorithms.split(","):
            for seed in range(1, args.seeds + 1):
                env = VecMonitor(VecEnv(server.url, "synthetic", ENVS))
                kind = {"ppo": PPO, "dqn": DQN}[name]
                model = kind("MlpPolicy", env, seed=seed, **SETTINGS[name])
                curve = Curve([name, seed], server.url, args.every, args.episodes, out)
                model.learn(STEPS[name], callback=curve)
                value = evaluate(model, server.url, 20)
                out.writerow([name, seed, "end", round(value, 1), ""])
                sys.stdout.flush()
                env.close()


if __name__ == "__main__":
    main()
