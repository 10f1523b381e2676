"""DQN in one file, in the manner of CleanRL: everything that learns is here.

    pip install torch --index-url https://download.pytorch.org/whl/cpu  # no GPU: no 3 GB of CUDA
    python cleanrl_dqn.py --steps 40000

Without --url it starts a server of its own. It needs an action space that is
Discrete (one switch).
"""

from __future__ import annotations

import argparse
import random
from collections import deque

import numpy as np
import torch
from torch import nn

import planegym


class ReplayBuffer:
    """A ring of transitions."""

    def __init__(self, size: int, dim: int, seed: int) -> None:
        self.obs = np.zeros((size, dim), np.float32)
        self.next_obs = np.zeros((size, dim), np.float32)
        self.action = np.zeros(size, np.int64)
        self.reward = np.zeros(size, np.float32)
        self.terminated = np.zeros(size, np.float32)
        self.size, self.count = size, 0
        self.rng = np.random.default_rng(seed)

    def add(
        self,
        obs: np.ndarray,
        next_obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        terminated: np.ndarray,
    ) -> None:
        """Keep a transition of each row."""
        at = np.arange(self.count, self.count + len(obs)) % self.size
        self.obs[at], self.next_obs[at], self.action[at] = obs, next_obs, action
        self.reward[at], self.terminated[at] = reward, terminated
        self.count += len(obs)

    def sample(self, n: int) -> list[torch.Tensor]:
        """n transitions, drawn with replacement."""
        i = self.rng.integers(0, min(self.count, self.size), n)
        columns = (self.obs, self.next_obs, self.action, self.reward, self.terminated)
        return [torch.from_numpy(c[i]) for c in columns]


def q_network(dim: int, actions: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(dim, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, actions)
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="of a server, like ws://127.0.0.1:7070")
    parser.add_argument("--scenario", default="cartpole")
    parser.add_argument("--envs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=40_000, help="of all environments together")
    parser.add_argument("--learning-starts", type=int, default=1_000)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--target-every", type=int, default=125, help="learning steps")
    parser.add_argument("--explore", type=float, default=0.4, help="fraction of steps")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    random.seed(args.seed)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    server = None if args.url else planegym.launch()
    env = planegym.VectorEnv(
        server.url if server else args.url, args.scenario, args.envs, autoreset_mode="same_step"
    )
    dim, actions = env.single_observation_space.shape[0], int(env.single_action_space.n)
    q, target = q_network(dim, actions), q_network(dim, actions)
    target.load_state_dict(q.state_dict())
    optimizer = torch.optim.Adam(q.parameters(), lr=args.learning_rate)
    replay = ReplayBuffer(10_000, dim, args.seed)

    obs, _ = env.reset(seed=args.seed)
    returns, running = deque([0.0], maxlen=20), np.zeros(args.envs)
    for i in range(args.steps // args.envs):
        done = i * args.envs / args.steps
        epsilon = max(0.05, 1 - 0.95 * done / args.explore)
        with torch.no_grad():
            action = q(torch.from_numpy(obs)).argmax(1).numpy()
        explore = rng.random(args.envs) < epsilon
        action = np.where(explore, rng.integers(0, actions, args.envs), action)
        after, reward, terminated, truncated, info = env.step(action)

        last = after.copy()  # what the ended episodes came to
        if "final_obs" in info:
            over = info["_final_obs"]
            last[over] = np.stack(info["final_obs"][over])
        replay.add(obs, last, action, reward, terminated)
        obs = after
        running += reward
        for k in np.flatnonzero(terminated | truncated):
            returns.append(running[k])
            running[k] = 0

        if replay.count >= args.learning_starts:
            o, n, a, r, t = replay.sample(args.batch)
            with torch.no_grad():
                want = r + args.gamma * target(n).max(1).values * (1 - t)
            loss = nn.functional.mse_loss(q(o).gather(1, a[:, None])[:, 0], want)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if i % args.target_every == 0:
                target.load_state_dict(q.state_dict())
        if i % 1000 == 0:
            print(f"step {i * args.envs}: return {np.mean(returns):.1f}, epsilon {epsilon:.2f}")

    env.close()
    if server:
        server.close()
    print(f"mean return of the last {len(returns)} episodes: {np.mean(returns):.1f}")


if __name__ == "__main__":
    main()
