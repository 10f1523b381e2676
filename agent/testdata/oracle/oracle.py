#!/usr/bin/env python3
"""Four updates of a DDQN in float64: NAME.in.json -> NAME.out.json.

Written from van Hasselt, Guez and Silver (AAAI 2016, equation 4), Sutton 1988
for returns of n steps, Wang et al. 2016 (equation 9), Tavakoli et al. 2018
(equations 1 and 6) for several switches, Schaul et al. 2016 (sections 3.3 and
3.4), Kumar et al. 2020 (equation 4), Kingma and Ba 2015, and Sutskever et al.
2013. Gradients are complex steps, d f = Im f(x + ih) / h (Squire and Trapp,
SIAM Review 1998): there is no rule of differentiation.
"""

import json
import pathlib
import sys

import numpy as np


def absolute(x):
    return np.where(x.real > 0, x, np.where(x.real < 0, -x, 0 * x))


class Agent:
    def __init__(self, given):
        self.c, self.heads, self.dim = given["Config"], given["Actions"], given["Dim"]
        total = sum(self.heads) + (1 if self.c["dueling"] else 0)
        sizes = [self.dim] + self.c["hidden"] + [total]
        self.shapes = {}
        for l, (i, o) in enumerate(zip(sizes, sizes[1:])):
            self.shapes[f"{l}.weight"], self.shapes[f"{l}.bias"] = (o, i), (o,)
        self.layers = len(sizes) - 1
        read = lambda p: {k: np.array(p[k]).reshape(s) for k, s in self.shapes.items()}
        self.online, self.target = read(given["Online"]), read(given["Target"])
        self.m = {k: np.zeros(s) for k, s in self.shapes.items()}
        self.v = {k: np.zeros(s) for k, s in self.shapes.items()}
        self.updates = 0

    def remember(self, steps):
        """Transitions of up to n steps: a return, and what it bootstraps from."""
        n, gamma, memory = self.c["n_step"], self.c["gamma"], []
        waiting = {}
        for s in steps:
            queue = waiting.setdefault(s["Row"], [])
            queue.append(s)
            over = s["Terminated"] or s["Truncated"]
            while queue and (len(queue) == n or over):
                total = sum(gamma**k * q["Reward"] for k, q in enumerate(queue))
                discount = 0 if s["Terminated"] else gamma ** len(queue)
                memory.append((queue[0]["Obs"], queue[0]["Actions"], total, discount, s["Next"]))
                queue.pop(0)
        size = self.c["replay"]
        ring = memory[:size]
        for i, m in enumerate(memory[size:]):
            ring[i % size] = m
        self.obs, self.next = np.array([m[0] for m in ring]), np.array([m[4] for m in ring])
        self.actions = np.array([m[1] for m in ring])
        self.reward, self.discount = np.array([m[2] for m in ring]), np.array([m[3] for m in ring])
        self.priority, self.top = np.ones(len(ring)), 1.0
        self.shift, self.scale = np.zeros(self.dim), np.ones(self.dim)
        if self.c["normalise"] == "fit":
            self.shift, self.scale = self.obs.mean(axis=0), 1 / self.obs.std(axis=0)

    def q(self, params, obs):
        """A list of [B,n], a switch each."""
        x = (obs - self.shift) * self.scale
        for l in range(self.layers):
            x = x @ params[f"{l}.weight"].T + params[f"{l}.bias"]
            if l < self.layers - 1:
                x = np.where(x.real > 0, x, 0 * x)
        value = 0
        if self.c["dueling"]:
            value, x = x[:, :1], x[:, 1:]
        out, at = [], 0
        for n in self.heads:
            a = x[:, at : at + n]
            out.append(value + a - a.mean(axis=1, keepdims=True) if self.c["dueling"] else a)
            at += n
        return out

    def sample(self, d):
        if not self.c["prioritised"]:
            return np.array(d["At"]), np.ones(len(d["At"]))
        total, b = self.priority.sum(), len(d["U"])
        running = np.cumsum(self.priority)
        at = np.array([np.searchsorted(running, (i + u) * total / b, side="right") for i, u in enumerate(d["U"])])
        beta = self.c["beta"] + (1 - self.c["beta"]) * min(d["Share"], 1)
        w = (len(self.priority) * self.priority[at] / total) ** -beta
        return at, w / w.max()

    def update(self, d):
        c = self.c
        at, w = self.sample(d)
        rows = np.arange(len(at))
        choice, value = self.q(self.online, self.next[at]), self.q(self.target, self.next[at])
        v = np.mean([x[rows, q.argmax(axis=1)] for q, x in zip(choice, value)], axis=0)
        y = self.reward[at] + self.discount[at] * v

        def loss(params):
            terms = 0
            for s, q in enumerate(self.q(params, self.obs[at])):
                taken = q[rows, self.actions[at, s]]
                e = absolute(taken - y)
                l = np.where(e.real > 1, e - 0.5, e * e / 2) if c["loss"] == "huber" else e * e / 2
                terms = terms + (w * l).mean()
                terms = terms + c.get("cql", 0) * (np.log(np.exp(q).sum(axis=1)) - taken).mean()
            return terms / len(self.heads)

        q = self.q(self.online, self.obs[at])
        delta = np.mean([np.abs(x[rows, self.actions[at, s]] - y) for s, x in enumerate(q)], axis=0)
        before, h, grad = loss(self.online), 1e-30, {}
        for key, x in self.online.items():
            g = np.zeros(x.size)
            for i in range(x.size):
                moved = x.astype(complex)
                moved.flat[i] += 1j * h
                g[i] = np.imag(loss({**self.online, key: moved})) / h
            grad[key] = g.reshape(x.shape)
        if c.get("clip_norm"):
            norm = np.sqrt(sum((g**2).sum() for g in grad.values()))
            grad = {k: g * min(1, c["clip_norm"] / norm) for k, g in grad.items()}
        rate = c["learning_rate"]
        if c.get("final_rate"):
            rate += (c["final_rate"] - rate) * min(d["Share"], 1)
        self.updates += 1
        for key, g in grad.items():
            if c["optimiser"] == "adam":
                self.m[key] = 0.9 * self.m[key] + 0.1 * g
                self.v[key] = 0.999 * self.v[key] + 0.001 * g * g
                mean, square = self.m[key] / (1 - 0.9**self.updates), self.v[key] / (1 - 0.999**self.updates)
                self.online[key] = self.online[key] - rate * mean / (np.sqrt(square) + 1e-8)
            else:
                mu = c["momentum"]
                self.v[key] = mu * self.v[key] + g
                self.online[key] = self.online[key] - rate * (g + mu * self.v[key])
        if self.updates % c["target"] == 0:
            self.target = dict(self.online)
        for i, e in zip(at, delta):
            self.priority[i] = (e + 1e-6) ** c["alpha"]
        return {
            "At": at.tolist(), "Weights": w.tolist(), "Y": y.tolist(), "Loss": before, "Rate": rate, "Priorities": self.priority.tolist(),
            "Online": {k: x.ravel().tolist() for k, x in self.online.items()}, "Target": {k: x.ravel().tolist() for k, x in self.target.items()},
        }


def short(x):
    """Nine digits of every number."""
    if isinstance(x, dict):
        return {k: short(v) for k, v in x.items()}
    if isinstance(x, list):
        return [short(v) for v in x]
    return float(f"{x:.9g}") if isinstance(x, float) else x


def run(path):
    given = json.loads(path.read_text())
    a = Agent(given)
    a.remember(given["Steps"])
    out = {
        "Shift": a.shift.tolist(), "Scale": a.scale.tolist(), "Obs": a.obs.ravel().tolist(), "Next": a.next.ravel().tolist(),
        "Reward": a.reward.tolist(), "Discount": [float(d) for d in a.discount], "Actions": a.actions.ravel().tolist(),
    }
    out["Updates"] = [a.update(d) for d in given["Updates"]]
    to = path.with_name(path.name.replace(".in.", ".out."))
    to.write_text(json.dumps(short(out), separators=(",", ":")) + "\n")
    print(to, file=sys.stderr)


for p in sorted(pathlib.Path(__file__).parent.glob("*.in.json")):
    run(p)
