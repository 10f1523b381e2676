"""Learn with Stable-Baselines3's DQN.

    pip install torch --index-url https://download.pytorch.org/whl/cpu  # no GPU: no 3 GB of CUDA
    pip install stable-baselines3
    python sb3_dqn.py --steps 50000

Without --url it starts a server of its own. The settings are those that
RL Baselines3 Zoo found for CartPole-v1.
"""

from __future__ import annotations

import argparse

from stable_baselines3 import DQN
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor

import planegym
from planegym.sb3 import VecEnv


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="of a server, like ws://127.0.0.1:7070")
    parser.add_argument("--scenario", default="cartpole")
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", help="file for the model")
    args = parser.parse_args()

    server = None if args.url else planegym.launch()
    url = server.url if server else args.url
    env = VecMonitor(VecEnv(url, args.scenario, 1))
    model = DQN(
        "MlpPolicy",
        env,
        learning_rate=2.3e-3,
        batch_size=64,
        buffer_size=100_000,
        learning_starts=1000,
        gamma=0.99,
        target_update_interval=10,
        train_freq=256,
        gradient_steps=128,
        exploration_fraction=0.16,
        exploration_final_eps=0.04,
        policy_kwargs={"net_arch": [256, 256]},
        seed=args.seed,
        device="cpu",
    )
    model.learn(args.steps)
    env.close()
    if args.save:
        model.save(args.save)

    judge = VecMonitor(VecEnv(url, args.scenario, 10))
    judge.seed(args.seed + 1_000_000)
    mean, spread = evaluate_policy(model, judge, n_eval_episodes=20)
    judge.close()
    if server:
        server.close()
    print(f"reward of an episode: {mean:.1f} ± {spread:.1f}")


if __name__ == "__main__":
    main()
