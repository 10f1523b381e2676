# needs: torch stable-baselines3 sb3-contrib moviepy pygame gymnasium
# shows: DQN, PPO, QRDQN; `SubprocVecEnv`, `VecNormalize`, `EvalCallback`, `planegym.sb3`
from __future__ import annotations

from functools import partial

import gymnasium as gym
from sb3_contrib import QRDQN
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import SubprocVecEnv, VecMonitor, VecNormalize

import planegym
from planegym.sb3 import VecEnv

ID = "planegym/Synthetic-v0"


def make(seed: int) -> gym.Env:
    env = Monitor(gym.make(ID))
    env.reset(seed=seed)
    return env


if __name__ == "__main__":
    check_env(planegym.make(None, "synthetic"))
    DQN("MlpPolicy", gym.make(ID), learning_starts=50, device="cpu").learn(300)
    QRDQN("MlpPolicy", gym.make(ID), learning_starts=50, device="cpu").learn(300)
    for method in ("fork", "spawn"):
        vec = SubprocVecEnv([partial(make, i) for i in range(2)], start_method=method)
        PPO("MlpPolicy", vec, n_steps=32, batch_size=32, device="cpu").learn(128)
        vec.close()
    kwargs = {"env": {"max_steps": 50}}
    vec = VecNormalize(VecMonitor(VecEnv(None, "synthetic", 4, kwargs=kwargs)))
    test = VecNormalize(VecMonitor(VecEnv(None, "synthetic", 2, kwargs=kwargs)), training=False)
    callback = EvalCallback(test, eval_freq=50, n_eval_episodes=2, verbose=0)
    PPO("MlpPolicy", vec, n_steps=32, device="cpu").learn(512, callback=callback)
    assert len(callback.evaluations_results or [1]) > 0
    assert callback.last_mean_reward > -100
    vec.close()
    test.close()
