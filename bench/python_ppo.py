"""What the socket costs a learner: Stable-Baselines3's PPO on CartPole through
planegym beside the same in process on Gymnasium's own, in turns, until each has
learned as long. Environments are equal bit for bit, so both do the same work.
wall is what a user waits, on a machine with nothing else to do; cpu is processor
time, the server's included, which a loaded machine disturbs less.

    pip install './python[sb3]'
    python bench/python_ppo.py [--json] [--rounds 9] [--steps 4096] [--pin]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

import planegym
from planegym.sb3 import VecEnv


def spent(server: planegym.Server) -> float:
    """Processor seconds of this process and the server, as Linux counts them."""
    stat = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def pin(server: planegym.Server) -> None:
    """Keep the learner on one core and the server on the others: what wakes on
    another core at every step finds its caches cold, and runs everything slower."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        sys.exit("--pin: there is one core")
    for task in os.listdir(f"/proc/{server.process.pid}/task"):
        os.sched_setaffinity(int(task), others)
    os.sched_setaffinity(0, {first})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=4096, help="of each in a round")
    parser.add_argument("--envs", type=int, default=8)
    parser.add_argument("--pin", action="store_true", help="learner and server on cores apart")
    args = parser.parse_args()

    wall: dict[str, list[float]] = {"planegym": [], "in_process": []}
    cpu: dict[str, list[float]] = {"planegym": [], "in_process": []}
    with planegym.launch() as server:
        if args.pin:
            pin(server)
        envs: dict[str, Any] = {
            "planegym": VecEnv(server.url, "cartpole", args.envs),
            "in_process": DummyVecEnv([lambda: gymnasium.make("CartPole-v1")] * args.envs),
        }
        learners = {
            kind: PPO("MlpPolicy", env, n_steps=128, batch_size=256, seed=1, device="cpu")
            for kind, env in envs.items()
        }
        for i in range(args.rounds + 1):
            for kind, model in learners.items():
                w, c = time.perf_counter(), spent(server)
                model.learn(args.steps, reset_num_timesteps=i == 0)
                if i > 0:  # the first warms up
                    wall[kind].append(time.perf_counter() - w)
                    cpu[kind].append(spent(server) - c)
            print(f"round {i} of {args.rounds}", file=sys.stderr)
        for env in envs.values():
            env.close()
    figures = {f"{kind}.wall_s": statistics.median(v) for kind, v in wall.items()}
    figures |= {f"{kind}.cpu_s": statistics.median(v) for kind, v in cpu.items()}
    for name, times in (("wall", wall), ("cpu", cpu)):
        ratios = [a / b for a, b in zip(times["planegym"], times["in_process"], strict=True)]
        figures[f"planegym.{name}_of_in_process"] = statistics.median(ratios)
    if args.json:
        print(json.dumps({"rounds": args.rounds, "steps": args.steps, "figures": figures}))
        return
    for name, value in figures.items():
        print(f"{name:<32} {value:.3f}")


if __name__ == "__main__":
    main()
