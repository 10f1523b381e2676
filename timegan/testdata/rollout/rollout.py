#!/usr/bin/env python3
"""Rollouts in float64: NAME.in.json -> NAME.out.json.

timegan/DESIGN.md says what a rollout is: generator, supervisor and recovery go on
from second to second, unseen for the first 64; the limit and the sine and cosine of
the clock are told at each. A channel is taken back to its field by a scale that is
half the share of measurements and half the place in their range; a field moves no
farther in a second than it did in any recorded one, and the quality changes where
another level leads by half.
"""

import json
import pathlib
import sys

import numpy as np

QUALITY, WARM_UP, MARGIN = ["fps", "rep_kbps", "width", "height"], 64, 0.5


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Net:
    """One network, a second at a time."""

    def __init__(self, params, name, hidden):
        self.p = {k[len(name) + 1 :]: np.array(v) for k, v in params.items() if k.startswith(name + ".")}
        self.layers = sum(k.startswith("weight_ih") for k in self.p)
        self.n = hidden
        self.h = [np.zeros(hidden) for _ in range(self.layers)]

    def __call__(self, x):
        for l in range(self.layers):
            wi = self.p[f"weight_ih_l{l}"].reshape(3 * self.n, -1)
            wh = self.p[f"weight_hh_l{l}"].reshape(3 * self.n, -1)
            i, h = wi @ x + self.p[f"bias_ih_l{l}"], wh @ self.h[l] + self.p[f"bias_hh_l{l}"]
            (ri, zi, ni), (rh, zh, nh) = np.split(i, 3), np.split(h, 3)
            r, z = sigmoid(ri + rh), sigmoid(zi + zh)
            x = self.h[l] = z * self.h[l] + (1 - z) * np.tanh(ni + r * nh)
        b = self.p["head.bias"]
        return sigmoid(self.p["head.weight"].reshape(len(b), self.n) @ x + b)


class Codec:
    def __init__(self, fields, recordings, knots, free):
        self.free, self.fields = free, fields
        self.lo, self.hi = min(r["Limit"] for r in recordings), max(r["Limit"] for r in recordings)
        at = [fields.index(q) for q in QUALITY if q in fields]
        self.levels = sorted({tuple(row[k] for k in at) for r in recordings for row in r["Values"]})
        self.columns, self.channels = [], 0
        for k, f in enumerate(fields):
            x = np.sort([row[k] for r in recordings for row, ok in zip(r["Values"], r["Valid"]) if ok[k]]).astype(np.float32).astype(float)
            if k in at:
                self.columns.append(("level", at.index(k)))
                continue
            if x[0] == x[-1]:
                self.columns.append(("constant", x[0]))
                continue
            steps = [
                b[k] - a[k]
                for r in recordings
                for a, b, oa, ob in zip(r["Values"], r["Values"][1:], r["Valid"], r["Valid"][1:])
                if oa[k] and ob[k]
            ]
            whole = all(v == np.floor(v) for v in x)
            self.columns.append(("value", self.channels, self.knots(x, knots), whole, min(steps + [0]), max(steps + [0])))
            self.channels += 1

    @staticmethod
    def knots(x, n):
        """The value at u: (share below it + its place in the range)/2 = u."""
        share = np.linspace(0, 1, len(x))
        u = (share + (x - x[0]) / (x[-1] - x[0])) / 2
        return np.interp(np.linspace(0, 1, n), u, x)

    def decode(self, channels, before):
        levels = channels[self.channels :]
        best = int(levels.argmax())
        now = []
        if before is not None and not self.free:
            level = tuple(before[k] for k, c in enumerate(self.columns) if c[0] == "level")
            was = self.levels.index(level)
            if levels[best] < levels[was] + MARGIN:
                best = was
        for k, c in enumerate(self.columns):
            if c[0] == "constant":
                now.append(c[1])
            elif c[0] == "level":
                now.append(self.levels[best][c[1]])
            else:
                _, channel, knots, whole, fall, rise = c
                v = np.interp(channels[channel], np.linspace(0, 1, len(knots)), knots)
                v = np.round(v) if whole else v
                if before is not None and not self.free:
                    v = min(max(v, before[k] + fall), before[k] + rise)
                now.append(v)
        return now


def run(path):
    given = json.loads(path.read_text())
    c, models = given["Config"], []
    for i, p in enumerate(given["Params"]):
        of = given["Recordings"][i : i + 1] if given["Lockstep"] else given["Recordings"]
        codec = Codec(given["Fields"], of, given["Knots"], given["Free"])
        models.append((codec, [Net(p, n, c["hidden"]) for n in ("generator", "supervisor", "recovery")], {"before": None}))
    limits = [given["Limits"][0]] * WARM_UP + given["Limits"]
    out = []
    for t, limit in enumerate(limits):
        for i, (codec, nets, state) in enumerate(models):
            told = 0 if given["Lockstep"] else (limit - codec.lo) / max(codec.hi - codec.lo, 1)
            a = 2 * np.pi * (given["Start"] + t - WARM_UP) / c["clock"]
            cond, x = [told, np.sin(a), np.cos(a)], np.array(given["Z"][i][t])
            for net in nets:
                x = net(np.concatenate([x, cond]))
            if t < WARM_UP:
                continue
            state["before"] = codec.decode(x, state["before"])
            if not given["Lockstep"] or codec.lo == limit:
                out.append([float(f"{v:.9g}") for v in state["before"]])
    to = path.with_name(path.name.replace(".in.", ".out."))
    to.write_text(json.dumps(out, separators=(",", ":")) + "\n")
    print(to, file=sys.stderr)


for p in sorted(pathlib.Path(__file__).parent.glob("*.in.json")):
    run(p)
