# needs: torch torchrl gymnasium
# shows: `GymEnv`, `check_env_specs`, `ParallelEnv`, collector
from __future__ import annotations

from torchrl import collectors
from torchrl.envs import GymEnv, ParallelEnv
from torchrl.envs.utils import RandomPolicy, check_env_specs

import planegym  # noqa: F401

Collector = getattr(collectors, "Collector", None) or collectors.SyncDataCollector


def make() -> GymEnv:
    return GymEnv("planegym:planegym/Synthetic-v0")


if __name__ == "__main__":
    env = make()
    check_env_specs(env)
    assert env.rollout(10).shape == (10,)
    env.close()
    vec = ParallelEnv(2, make)
    assert vec.rollout(5).shape == (2, 5)
    vec.close()
    env = make()
    collector = Collector(env, RandomPolicy(env.action_spec), frames_per_batch=50, total_frames=100)
    assert sum(batch.numel() for batch in collector) == 100
    collector.shutdown()
