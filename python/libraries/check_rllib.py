# needs: torch ray[rllib,tune] gymnasium
# shows: PPO on the new API stack, two env runners of two environments
from __future__ import annotations

import os

import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.tune.registry import register_env

import planegym

URL = os.environ["PLANEGYM_URL"]

if __name__ == "__main__":
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    register_env("planegym", lambda c: planegym.make(c["url"], c["scenario"]))
    config = (
        PPOConfig()
        .environment("planegym", env_config={"url": URL, "scenario": "synthetic"})
        .env_runners(num_env_runners=2, num_envs_per_env_runner=2, rollout_fragment_length=50)
        .training(train_batch_size_per_learner=200, minibatch_size=100, num_epochs=1)
    )
    algo = config.build_algo()
    result = algo.train()
    assert result["num_env_steps_sampled_lifetime"] >= 200, result
    algo.stop()
    ray.shutdown()
