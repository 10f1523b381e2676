"""Sample planegym with an RLlib EnvRunner, and learn with PPO if asked to.

    pip install torch --index-url https://download.pytorch.org/whl/cpu  # no GPU: no 3 GB of CUDA
    pip install 'ray[rllib]'
    python rllib_env_runner.py --runners 2 --iterations 5

Every runner is a process with a session of its own: environments connect when
they are first reset, so RLlib may pickle and ship them. Without --url the
script starts a server of its own.
"""

from __future__ import annotations

import argparse
from typing import Any

from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.tune.registry import register_env

import planegym


def make(config: dict[str, Any]) -> planegym.Env:
    """What RLlib calls in each runner; config is env_config below."""
    return planegym.make(config["url"], config["scenario"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="of a server, like ws://127.0.0.1:7070")
    parser.add_argument("--scenario", default="cartpole")
    parser.add_argument("--envs", type=int, default=2, help="of a runner")
    parser.add_argument("--runners", type=int, default=0, help="processes beside this one")
    parser.add_argument("--iterations", type=int, default=0, help="of PPO; 0 only samples")
    args = parser.parse_args()

    server = None if args.url else planegym.launch()
    register_env("planegym", make)
    config = (
        PPOConfig()
        .api_stack(enable_rl_module_and_learner=True, enable_env_runner_and_connector_v2=True)
        .environment(
            "planegym",
            env_config={"url": server.url if server else args.url, "scenario": args.scenario},
        )
        .env_runners(num_env_runners=args.runners, num_envs_per_env_runner=args.envs)
        .training(train_batch_size_per_learner=2000, minibatch_size=256, num_epochs=10)
    )

    runner = SingleAgentEnvRunner(config=config)
    episodes = runner.sample(num_timesteps=1000, random_actions=True)
    print(f"sampled {sum(len(e) for e in episodes)} steps, {len(episodes)} episodes or parts")
    runner.stop()

    if args.iterations:
        algorithm = config.build()
        for i in range(args.iterations):
            result = algorithm.train()
            mean = result["env_runners"]["episode_return_mean"]
            print(f"iteration {i + 1}: return {mean:.1f}")
        algorithm.stop()
    if server:
        server.close()


if __name__ == "__main__":
    main()
