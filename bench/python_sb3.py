"""Stable-Baselines3's PPO and DQN on scenario synthetic, with settings that work:
the curves beside planegym's own agents in docs/environments/synthetic.md.

    pip install './python[sb3]'
    python bench/python_sb3.py [--seeds 3] [--algorithms ppo,dqn] >curves.csv

Eight times in a training, and at its end, the greedy policy plays --episodes
evaluation episodes (seeds that training does not use). Rows go to stdout as they
come.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable
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
STEPS = {"ppo": 131_072, "dqn": 30_000}  # where the curves are level
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

    def __init__(self, write: Callable[[int, int], None], every: int, episodes: int) -> None:
        super().__init__()
        self.write, self.every, self.episodes = write, every, episodes
        self.next = 0

    def _on_step(self) -> bool:
        if self.num_timesteps >= self.next:
            self.next = self.num_timesteps + self.every
            self.write(self.num_timesteps, self.episodes)
        return True


def train(name: str, seed: int, url: str, episodes: int, out: Any) -> None:
    """Trains one agent and writes its curve, a row an evaluation."""
    env = VecMonitor(VecEnv(url, "synthetic", ENVS))
    model = {"ppo": PPO, "dqn": DQN}[name]("MlpPolicy", env, seed=seed, **SETTINGS[name])
    settings = ", ".join(f"{k}={v}" for k, v in {**SETTINGS[name], "environments": ENVS}.items())
    began = time.perf_counter()

    def write(transitions: int, episodes: int) -> None:
        value = evaluate(model, url, episodes)
        seconds = time.perf_counter() - began
        row = [f"SB3 {name.upper()}", seed, transitions, round(value, 1), round(seconds, 1)]
        out.writerow([*row, settings, "python bench/python_sb3.py"])
        sys.stdout.flush()

    model.learn(STEPS[name], callback=Curve(write, STEPS[name] // 8, episodes))
    write(STEPS[name], 20)
    env.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--algorithms", default="ppo,dqn")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(1)
    out = csv.writer(sys.stdout)
    out.writerow(["algorithm", "seed", "transitions", "return", "seconds", "settings", "command"])
    with planegym.launch(scenario="synthetic") as server:
        for name in args.algorithms.split(","):
            for seed in range(1, args.seeds + 1):
                train(name, seed, server.url, args.episodes, out)


if __name__ == "__main__":
    main()
