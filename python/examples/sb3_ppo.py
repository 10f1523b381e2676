"""Learn with Stable-Baselines3's PPO; on CartPole it reaches 500 in a minute.

    pip install torch --index-url https://download.pytorch.org/whl/cpu  # no GPU: no 3 GB of CUDA
    pip install stable-baselines3
    python sb3_ppo.py --steps 60000 --save ppo.zip

Without --url it starts a server of its own. The settings are those that
RL Baselines3 Zoo found for CartPole-v1.
"""

from __future__ import annotations

import argparse

from stable_baselines3 import PPO
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
    parser.add_argument("--envs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", help="file for the model")
    args = parser.parse_args()

    server = None if args.url else planegym.launch()
    url = server.url if server else args.url
    env = VecMonitor(VecEnv(url, args.scenario, args.envs))
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=32,
        batch_size=32 * args.envs,
        n_epochs=20,
        gamma=0.98,
        gae_lambda=0.8,
        learning_rate=lambda left: 1e-3 * left,
        clip_range=lambda left: 0.2 * left,
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
