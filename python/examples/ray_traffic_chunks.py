"""Learn a trace of traffic chunk by chunk on Ray, as NetShare scales, and sample it.

    pip install 'ray[default]'
    planegym traffic convert capture.pcap -o trace.parquet
    python ray_traffic_chunks.py trace.parquet --chunks 10 --output sampled.parquet

The first chunk is learnt as a task, the others in parallel from its model. Called again, it
does what the folder of models lacks. Without a cluster (--address) Ray runs on this machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ray

from planegym import ray as pray


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trace", type=Path, help="Parquet of sessions")
    parser.add_argument(
        "--address", help="of a Ray cluster, like auto; default: Ray on this machine"
    )
    parser.add_argument("--chunks", type=int, default=10)
    parser.add_argument("--mode", default="doppelganger-likelihood")
    parser.add_argument("--updates", type=int, help="of the first chunk; others have a quarter")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder for models")
    parser.add_argument("--output", type=Path, default=Path("sampled.parquet"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    ray.init(address=args.address, include_dashboard=False, log_to_driver=False)
    models = pray.traffic_fit_chunks(
        args.trace,
        args.models,
        chunks=args.chunks,
        mode=args.mode,
        seed=args.seed,
        set={"updates": args.updates} if args.updates else None,
    )
    print(f"{len(models)} models in {args.models}")
    print(f"{pray.traffic_sample_chunks(models, output=args.output, seed=args.seed)} is sampled")
    ray.shutdown()


if __name__ == "__main__":
    main()
