# needs: torch skrl gymnasium
# shows: `wrap_env` of a `planegym.VectorEnv`, DQN by `SequentialTrainer`
from __future__ import annotations

import gymnasium as gym
from skrl.agents.torch.dqn import DQN, DQN_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.trainers.torch import SequentialTrainer
from skrl.utils.model_instantiators.torch import deterministic_model

import planegym  # noqa: F401

if __name__ == "__main__":
    env = wrap_env(
        gym.make_vec("planegym/Synthetic-v0", 4, vectorization_mode="vector_entry_point")
    )
    network = [{"name": "net", "input": "OBSERVATIONS", "layers": [32], "activations": "relu"}]
    models = {
        name: deterministic_model(
            observation_space=env.observation_space,
            action_space=env.action_space,
            device=env.device,
            network=network,
            output="ACTIONS",
        )
        for name in ("q_network", "target_q_network")
    }
    agent = DQN(
        models=models,
        memory=RandomMemory(memory_size=500, num_envs=env.num_envs, device=env.device),
        cfg=DQN_CFG(learning_starts=20, experiment={"write_interval": 0, "checkpoint_interval": 0}),
        observation_space=env.observation_space,
        action_space=env.action_space,
        device=env.device,
    )
    SequentialTrainer(cfg={"timesteps": 60, "headless": True}, env=env, agents=agent).train()
    env.close()
