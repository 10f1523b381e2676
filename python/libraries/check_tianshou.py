# needs: torch tianshou gymnasium
# shows: `DummyVectorEnv`, `SubprocVectorEnv`, collector, DQN updates
from __future__ import annotations

import gymnasium as gym
from tianshou.algorithm.algorithm_base import policy_within_training_step
from tianshou.algorithm.modelfree.dqn import DQN, DiscreteQLearningPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv, SubprocVectorEnv
from tianshou.utils.net.common import Net

import planegym  # noqa: F401


def make() -> gym.Env:
    return gym.make("planegym/Synthetic-v0", max_episode_steps=20)


if __name__ == "__main__":
    for kind in (DummyVectorEnv, SubprocVectorEnv):
        envs = kind([make] * 2)
        env = make()
        net = Net(state_shape=env.observation_space.shape, action_shape=3, hidden_sizes=[32])
        policy = DiscreteQLearningPolicy(
            model=net, action_space=env.action_space, observation_space=env.observation_space
        )
        algorithm = DQN(policy=policy, optim=AdamOptimizerFactory(lr=1e-3))
        buffer = VectorReplayBuffer(1000, 2)
        collector = Collector(algorithm, envs, buffer)
        collector.reset()
        collected = collector.collect(n_step=100)
        assert collected.n_collected_steps == 100
        assert collected.n_collected_episodes >= 4
        with policy_within_training_step(policy):
            algorithm.update(buffer=buffer, sample_size=32)
        envs.close()
