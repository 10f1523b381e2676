"""Record episodes as a Minari dataset, for offline learning, and read it back.

    pip install 'minari[hdf5]' pillow
    python offline_dataset.py --id planegym/cartpole/random-v0 --episodes 100

Minari keeps it under MINARI_DATASETS_PATH, default ~/.minari/datasets. Without
--url the script starts a server of its own.
"""

from __future__ import annotations

import argparse

import minari
import numpy as np

import planegym


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="of a server, like ws://127.0.0.1:7070")
    parser.add_argument("--scenario", default="cartpole")
    parser.add_argument("--id", default="planegym/cartpole/random-v0", help="of the dataset")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    server = None if args.url else planegym.launch()
    env = planegym.make(server.url if server else args.url, args.scenario)
    planegym.to_minari(
        env,
        args.id,
        episodes=args.episodes,
        seed=args.seed,
        algorithm_name="random",
        description=f"{args.scenario} of planegym, actions drawn uniformly",
    )
    env.close()
    if server:
        server.close()

    dataset = minari.load_dataset(args.id)
    returns = [episode.rewards.sum() for episode in dataset]
    print(f"{args.id}: {dataset.total_episodes} episodes, {dataset.total_steps} steps")
    print(f"return {np.mean(returns):.1f} ± {np.std(returns):.1f}")


if __name__ == "__main__":
    main()
