#!/usr/bin/env python3
"""Off-policy values in float64: in.json -> out.json.

LSTD-Q (Lagoudakis and Parr, JMLR 2003) as the fixed point of fitted Q evaluation
(Le, Voloshin and Yue, ICML 2019), doubly robust values (Jiang and Li, ICML 2016),
and the jackknife's pseudo-values (Efron and Tibshirani 1993, chapter 11) over at
most 20 groups of episodes. agent/DESIGN.md has the ridge (1e-4 a step; 1e-9 for the
constant) and the largest weight that is followed (100).
"""

import json
import pathlib

import numpy as np

RIDGE, CONSTANT, CAP, GROUPS = 1e-4, 1e-9, 100, 20


def value(case):
    d, k, gamma = case["Dim"], case["Actions"], case["Gamma"]
    logs = case["Episodes"]
    obs = [np.array(e["Obs"]).reshape(-1, d) for e in logs]
    pi = [np.array(p).reshape(-1, k) for p in case["Target"]]
    every = np.concatenate(obs)
    mean, sd = every.mean(axis=0), every.std(axis=0)
    scale = np.array([1 / s if s > 1e-6 * (1 + abs(m)) else 0 for m, s in zip(mean, sd)])
    project = np.array(case["Project"] or []).reshape(-1, d + 1)

    def features(x):
        z = (x - mean) * scale
        return np.hstack([np.ones((len(x), 1)), z, np.tanh(z @ project[:, :d].T + project[:, d])])

    phi = [features(x) for x in obs]
    p = phi[0].shape[1]

    def of(a, f):
        out = np.zeros(k * p)
        out[a * p : (a + 1) * p] = f
        return out

    def solve(which):
        A, b, steps = np.zeros((k * p, k * p)), np.zeros(k * p), 0
        for e in which:
            log = logs[e]
            n = len(log["Reward"])
            for t in range(n):
                x = of(log["Actions"][t], phi[e][t])
                ahead = np.zeros(k * p)
                if not (t == n - 1 and log["Terminated"]):
                    ahead = sum(pi[e][t + 1, a] * of(a, phi[e][t + 1]) for a in range(k))
                A += np.outer(x, x - gamma * ahead)
                b += x * log["Reward"][t]
                steps += 1
        penalty = np.tile([CONSTANT] + [RIDGE] * (p - 1), k) * steps
        return np.linalg.solve(A + np.diag(penalty), b).reshape(k, p)

    def estimate(which):
        w = solve(which)
        fqe = dr = starts = followed = 0
        for e in which:
            log = logs[e]
            n = len(log["Reward"])
            q = phi[e] @ w.T
            v = (pi[e] * q).sum(axis=1)
            for t in range(n):
                if t > 0 and log["Chance"][t] >= 1:
                    continue
                starts += 1
                fqe += v[t]
                dr += v[t]
                weight = 1.0
                for j in range(t, n):
                    a = log["Actions"][j]
                    weight *= pi[e][j, a] / log["Chance"][j]
                    if weight == 0 or weight > CAP:
                        break
                    ahead = 0 if j == n - 1 and log["Terminated"] else v[j + 1]
                    dr += gamma ** (j - t) * weight * (log["Reward"][j] + gamma * ahead - q[j, a])
                    followed += gamma ** (j - t) * weight
        return (1 - gamma) * fqe / starts, (1 - gamma) * dr / starts, followed / starts

    n = len(logs)
    groups = min(n, GROUPS)
    whole = estimate(range(n))
    parts = [estimate([e for e in range(n) if e % groups != g]) for g in range(groups)]
    return {
        "FQE": [groups * whole[0] - (groups - 1) * x[0] for x in parts], "DR": [groups * whole[1] - (groups - 1) * x[1] for x in parts],
        "Followed": whole[2],
    }


here = pathlib.Path(__file__).parent
out = [value(c) for c in json.loads((here / "in.json").read_text())]
(here / "out.json").write_text(json.dumps(out) + "\n")
