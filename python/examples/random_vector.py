"""Step many environments with random actions, and say how fast that goes.

    python random_vector.py --envs 256 --steps 2000

Without --url it starts a server of its own.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import planegym


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="of a server, like ws://127.0.0.1:7070")
    parser.add_argument("--scenario", default="cartpole")
    parser.add_argument("--envs", type=int, default=256)
    parser.add_argument("--steps", type=int, default=2000, help="of each environment")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    server = None if args.url else planegym.launch()
    env = planegym.VectorEnv(server.url if server else args.url, args.scenario, args.envs)
    env.action_space.seed(args.seed)
    env.reset(seed=args.seed)
    actions = [env.action_space.sample() for _ in range(16)]
    episodes, total = 0, 0.0
    begin = time.perf_counter()
    for i in range(args.steps):
        _, reward, terminated, truncated, _ = env.step(actions[i % 16])
        total += reward.sum()
        episodes += int(np.count_nonzero(terminated | truncated))
    took = time.perf_counter() - begin
    env.close()
    if server:
        server.close()
    print(f"{args.envs} environments, {args.envs * args.steps / took:,.0f} steps/s")
    print(f"{episodes} episodes ended, reward {total / (args.envs * args.steps):.3f} a step")


if __name__ == "__main__":
    main()
