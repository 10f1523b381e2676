#!/usr/bin/env python3
"""The table of timegan/DESIGN.md: synthetic sets against the held-out blocks, by an independent scorer.

    synthetic.py SCORE.py DATA ROLLOUTS [--rollouts N] [--classified N]

SCORE.py is the project's scorer, DATA the folder of recordings, ROLLOUTS that of `planegym sample
--rollouts 20`. Every set is scored as `SCORE.py --like --test` does; figures of rollouts are medians.
shuffled and bootstrapped are complete rows of the train blocks in random order, and windows of 50 of them.
--classified N takes the classifiers, which are slow, over the first N rollouts. Needs what SCORE.py needs.
"""
import argparse, importlib.util, pathlib, warnings
import numpy as np


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("score"), p.add_argument("data", type=pathlib.Path), p.add_argument("samples", type=pathlib.Path)
    p.add_argument("--rollouts", type=int, default=20), p.add_argument("--classified", type=int, default=20)
    a = p.parse_args()
    warnings.simplefilter("ignore")
    spec = importlib.util.spec_from_file_location("score", a.score)
    score = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(score)
    for limit in (32, 64):
        grid = score.read(a.data / f"aligned_{limit}.csv", gaps=True)
        n = len(grid)
        held = np.arange(n) // 100 % 4 == 3
        full = np.isfinite(grid).all(1)
        train, keep, rng = grid[full & ~held], full & held, np.random.default_rng(1)
        bootstrapped = np.concatenate([train[i : i + 50] for i in rng.integers(0, len(train) - 50, n // 50)])
        peers = {f"models{k}": [score.read(a.data / f"peer_models{k}_best_modelsum_{limit}.csv")] for k in (9, 3)}
        ours = [score.read(a.samples / f"sample_{limit}.{i}.csv") for i in range(a.rollouts)]
        real = grid[keep]
        lo, hi = real.min(0), real.max(0)
        live = hi > lo
        names = [c for c, ok in zip(score.COLUMNS, live) if ok]
        scale = lambda x: ((x - lo) / np.where(hi > lo, hi - lo, 1))
        r, lbo = scale(real)[:, live], names.index("Buffer")
        nc = [i for i, c in enumerate(names) if c != "CalcBitrate"]
        print(f"limit {limit}, {len(r)} rows held out, median of {a.rollouts} rollouts, classifiers over {a.classified}")
        print("| set | W1 | KS | corr | ACF | M minmax | LBO step | LBO spread | boosting | logistic | boosting, no counter |")
        print("|---|---|---|---|---|---|---|---|---|---|---|")
        for name, tables in {**({"ours": ours} if ours else {}), **peers, "shuffled": [train[rng.integers(0, len(train), n)]], "bootstrapped": [bootstrapped]}.items():
            rows = []
            for i, t in enumerate(tables):
                s = scale(t[keep])
                m = score.marginals(r, s[:, live], None)
                c = score.summary(m)
                row = [c["W1"], c["KS"], c["corr_error"], c["acf_error"], score.m_metric(scale(real), s), m["step_ratio"][lbo], m["sd_ratio"][lbo]]
                if i < a.classified:
                    d = score.discriminative(r, s[:, live], None, 2)
                    row += [d["boosting"], d["logistic"], score.discriminative(r[:, nc], s[:, live][:, nc], None, 2)["boosting"]]
                rows.append(row + [np.nan] * (10 - len(row)))
            print(f"| {name} |", " | ".join(f"{v:.3f}" for v in np.nanmedian(np.array(rows), 0)), "|", flush=True)
        draws = []
        for _ in range(200):
            f = np.concatenate([r[i : i + 50] for i in rng.integers(0, len(r) - 50, len(r) // 50)])
            c = score.summary(score.marginals(r, f, 50))
            draws.append([c["W1"], c["KS"], c["corr_error"], c["acf_error"], score.m_metric(r, f)])
        for q, v in zip(("5 %", "median", "95 %"), np.percentile(np.array(draws), [5, 50, 95], axis=0)):
            print(f"| floor, {q} |", " | ".join(f"{x:.3f}" for x in v), "| | | | | |")


if __name__ == "__main__":
    main()
