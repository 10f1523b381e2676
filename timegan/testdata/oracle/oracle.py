#!/usr/bin/env python3
"""Two updates of each phase of TimeGAN in float64: NAME.in.json -> NAME.out.json.

Written from the paper (Yoon, Jarrett, van der Schaar, NeurIPS 2019, sections 4
and 5), its authors' code for the weights of the losses, timegan/DESIGN.md for
what departs from both (gaps, clock, windows that go on, changes, covariances),
and Kingma and Ba 2015 for Adam. There is no rule of differentiation: every
component of a gradient is a complex step, d f = Im f(x + ih) / h (Squire and
Trapp, SIAM Review 1998), exact to rounding.
"""

import json
import pathlib
import sys

import numpy as np

NETWORKS = ["embedder", "recovery", "generator", "supervisor", "discriminator"]
FLOOR, LAGS = 0.02, [0, 1, 3, 9]


def absolute(x):
    """|x| of real arguments, continued so that complex steps pass through it."""
    return np.where(x.real > 0, x, np.where(x.real < 0, -x, 0 * x))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def entropy(logits, label):
    """Cross-entropy of sigmoid(logits) against one label for all."""
    return -(label * np.log(sigmoid(logits)) + (1 - label) * np.log(1 - sigmoid(logits))).mean()


class Net:
    """PyTorch's nn.GRU under one dense layer."""

    def __init__(self, params, name, act):
        self.p = {k[len(name) + 1 :]: v for k, v in params.items() if k.startswith(name + ".")}
        self.act = act
        self.layers = sum(k.startswith("weight_ih") for k in self.p)
        self.hidden = self.p["weight_hh_l0"].shape[1]

    def __call__(self, x, h0=None):
        """[T,B,in] -> [T,B,out], and the hidden states [L,B,H] after the last second."""
        last = []
        for l in range(self.layers):
            wi, wh = self.p[f"weight_ih_l{l}"], self.p[f"weight_hh_l{l}"]
            bi, bh = self.p[f"bias_ih_l{l}"], self.p[f"bias_hh_l{l}"]
            h = np.zeros((x.shape[1], self.hidden)) if h0 is None else h0[l]
            out = []
            for t in range(len(x)):
                ri, zi, ni = np.split(x[t] @ wi.T + bi, 3, axis=1)
                rh, zh, nh = np.split(h @ wh.T + bh, 3, axis=1)
                r, z = sigmoid(ri + rh), sigmoid(zi + zh)
                n = np.tanh(ni + r * nh)
                h = z * h + (1 - z) * n
                out.append(h)
            x = np.stack(out)
            last.append(h)
        return self.act(x @ self.p["head.weight"].T + self.p["head.bias"]), np.stack(last)


class Model:
    def __init__(self, given):
        c = self.c = given["Config"]
        w = given["Windows"]
        self.T, self.B = c["window"], c["batch"]
        self.F, self.V = len(w["Bit"]), given["Bits"]
        self.bit, self.median = w["Bit"], w["Median"]
        n = len(w["Limit"])
        self.x = np.array(w["X"]).reshape(n, self.F)
        self.valid = np.array(w["Valid"] or []).reshape(n, self.V)
        self.limit, self.second = np.array(w["Limit"]), np.array(w["Second"])
        shapes = self.shapes()
        assert set(shapes) == set(given["Params"])
        self.params = {k: np.array(given["Params"][k]).reshape(shape) for k, shape in shapes.items()}
        self.carry = {n: None for n in NETWORKS}
        self.clock = np.zeros(self.B, int)
        self.begin_phase()

    def shapes(self):
        c, cond = self.c, 3 if self.c["clock"] > 0 else 1
        h, l = c["hidden"], c["layers"]
        sizes = {
            "embedder": (self.F + self.V, l, h), "recovery": (h, l, self.F), "generator": (c["noise"], l, h),
            "supervisor": (h, max(l - 1, 1), h), "discriminator": (h + self.V, l, 1),
        }
        out = {}
        for name, (width, layers, y) in sizes.items():
            for k in range(layers):
                out[f"{name}.weight_ih_l{k}"] = (3 * h, width + cond if k == 0 else h)
                out[f"{name}.weight_hh_l{k}"] = (3 * h, h)
                out[f"{name}.bias_ih_l{k}"] = out[f"{name}.bias_hh_l{k}"] = (3 * h,)
            out[f"{name}.head.weight"], out[f"{name}.head.bias"] = (y, h), (y,)
        return out

    def begin_phase(self):
        self.m = {k: np.zeros_like(v) for k, v in self.params.items()}
        self.v = {k: np.zeros_like(v) for k, v in self.params.items()}
        self.t = {n: 0 for n in NETWORKS}
        self.rate = self.c["learning_rate"]

    def nets(self, params):
        act = {"discriminator": lambda x: x}
        return {n: Net(params, n, act.get(n, sigmoid)) for n in NETWORKS}

    def told(self, limit, second):
        """The condition of a second: the limit, and where the clock is."""
        turn = self.c["clock"]
        if turn <= 0:
            return [limit]
        a = 2 * np.pi * (second % turn) / turn
        return [limit, np.sin(a), np.cos(a)]

    def fill(self, x, valid):
        """A channel that was not measured shows what was measured last, the
        median before the first."""
        out = []
        for t in range(self.T):
            row = []
            for k, b in enumerate(self.bit):
                if b < 0:
                    row.append(x[t][:, k])
                    continue
                before = np.full(self.B, self.median[k]) if t == 0 else out[-1][:, k]
                row.append(np.where(valid[t][:, b] == 1, x[t][:, k], before))
            out.append(np.stack(row, axis=1))
        return np.stack(out)

    def draw(self, d):
        """A batch of real windows, and the noise of generated ones."""
        at = np.array(d["Starts"])
        rows = [at + t for t in range(self.T)]
        self.bits = np.stack([self.valid[r] for r in rows])
        self.real = self.fill(np.stack([self.x[r] for r in rows]), self.bits)
        self.cond = np.array([[self.told(self.limit[i], self.second[i]) for i in r] for r in rows])
        measured = np.ones((self.T, self.B, self.F), bool)
        for k, b in enumerate(self.bit):
            if b >= 0:
                measured[:, :, k] = self.bits[:, :, b] == 1
        self.measured, self.some = measured, measured.any(axis=2)
        if not d["Z"]:
            return
        self.z = np.array(d["Z"]).reshape(self.T, self.B, self.c["noise"])
        for i in range(self.B):
            if d["Fresh"][i]:
                self.clock[i] = d["Clock"][i]
        if all(d["Fresh"]):
            self.carry = {n: None for n in NETWORKS}
        assert all(d["Fresh"]) or not any(d["Fresh"])
        self.cond_fake = np.array([[self.told(self.limit[i], self.clock[b] + t) for b, i in enumerate(r)] for t, r in enumerate(rows)])
        turn = max(self.c["clock"], 1)
        self.clock = (self.clock + self.T) % turn

    def generate(self, n):
        """Channels as they are compared, the codes that the discriminator sees
        (the generator's own where latent), and the hidden states after them."""
        own, last_g = n["generator"](np.concatenate([self.z, self.cond_fake], 2), self.carry["generator"])
        h, last_s = n["supervisor"](np.concatenate([own, self.cond_fake], 2), self.carry["supervisor"])
        x, last_r = n["recovery"](np.concatenate([h, self.cond_fake], 2), self.carry["recovery"])
        last = {"generator": last_g, "supervisor": last_s, "recovery": last_r}
        if self.c["latent"]:
            return x, h, own, last
        x = self.fill(x, self.bits)
        again, _ = n["embedder"](np.concatenate([x, self.bits, self.cond_fake], 2))
        return x, again, None, last

    def embed(self, n):
        return n["embedder"](np.concatenate([self.real, self.bits, self.cond], 2))[0]

    def judge(self, n, h, cond):
        return n["discriminator"](np.concatenate([h, self.bits, cond], 2))[0]

    # The losses.

    def reconstruction(self, n):
        x = n["recovery"](np.concatenate([self.embed(n), self.cond], 2))[0]
        return ((x - self.real)[self.measured] ** 2).mean()

    def supervised(self, n):
        """Of the next second's code, where something was measured in that second."""
        h = self.embed(n)
        s = n["supervisor"](np.concatenate([h, self.cond], 2))[0]
        seen = self.some[1:]
        return ((s[:-1] - h[1:])[seen] ** 2).mean()

    def moments(self, fake, real):
        """G_loss_V of the authors' code, means over what is left of [T,B,F] without B."""
        def both(x):
            m = x.mean(axis=1)
            return m, np.sqrt(((x - m[:, None]) ** 2).mean(axis=1) + 1e-6)

        (mf, sf), (mr, sr) = both(fake), both(real)
        return (absolute(sf - sr) + absolute(mf - mr)).mean()

    def changes(self, fake):
        real = np.diff(self.real, axis=0).reshape(1, -1, self.F)
        fake = np.diff(fake, axis=0).reshape(1, -1, self.F)
        sd = real.std(axis=1) + FLOOR
        return self.moments(fake / sd, real / sd)

    def covariances(self, fake):
        flat = self.real.reshape(-1, self.F)
        mean, sd = flat.mean(axis=0), flat.std(axis=0) + FLOOR
        u, v = (fake - mean) / sd, (self.real - mean) / sd
        loss = 0
        for lag in LAGS:
            if self.T <= lag:
                continue
            n = (self.T - lag) * self.B
            a = np.einsum("tbi,tbj->ij", u[: self.T - lag], u[lag:])
            b = np.einsum("tbi,tbj->ij", v[: self.T - lag], v[lag:])
            loss = loss + absolute(a - b).sum() / n / (self.F * self.F * len(LAGS))
        return loss

    def generator_losses(self, n):
        x, h, own, _ = self.generate(n)
        c = self.c
        u = entropy(self.judge(n, h, self.cond_fake), 1)
        if c["latent"]:
            u = u + c["gamma"] * entropy(self.judge(n, own, self.cond_fake), 1)
        l = {"S": self.supervised(n), "U": u, "V": self.moments(x, self.real), "C": self.changes(x), "K": self.covariances(x)}
        total = l["U"] + c["eta"] * np.sqrt(l["S"]) + c["moments"] * l["V"] + c["changes"] * l["C"] + c["covariances"] * l["K"]
        return total, l

    def embedder_loss(self, n):
        return 10 * np.sqrt(self.reconstruction(n)) + 0.1 * self.supervised(n)

    def discriminator_loss(self, n):
        _, h, own, _ = self.generate(n)
        loss = entropy(self.judge(n, self.embed(n), self.cond), 1) + entropy(self.judge(n, h, self.cond_fake), 0)
        if self.c["latent"]:
            loss = loss + self.c["gamma"] * entropy(self.judge(n, own, self.cond_fake), 0)
        return loss

    # The updates.

    def descend(self, loss, *names):
        """A step of Adam for networks, by the gradient of loss(nets)."""
        h, grads = 1e-30, {}
        for key, value in self.params.items():
            if key.split(".")[0] not in names:
                continue
            g = np.zeros(value.size)
            for i in range(value.size):
                moved = dict(self.params)
                x = value.astype(complex)
                x.flat[i] += 1j * h
                moved[key] = x
                g[i] = np.imag(loss(self.nets(moved))) / h
            grads[key] = g.reshape(value.shape)
        for n in names:
            self.t[n] += 1
        for key, g in grads.items():
            t = self.t[key.split(".")[0]]
            self.m[key] = 0.9 * self.m[key] + 0.1 * g
            self.v[key] = 0.999 * self.v[key] + 0.001 * g * g
            mean, square = self.m[key] / (1 - 0.9**t), self.v[key] / (1 - 0.999**t)
            self.params[key] = self.params[key] - self.rate * mean / (np.sqrt(square) + 1e-8)

    def update(self, phase, update, draws):
        losses = {}
        if update == 0:
            self.begin_phase()
        if phase == 0:
            self.draw(draws[0])
            losses["R"] = self.reconstruction(self.nets(self.params))
            self.descend(lambda n: 10 * np.sqrt(self.reconstruction(n)), "embedder", "recovery")
        elif phase == 1:
            self.draw(draws[0])
            losses["S"] = self.supervised(self.nets(self.params))
            self.descend(self.supervised, "supervisor")
        else:
            self.rate = self.c["learning_rate"] * (1 - (1 - self.c["final_rate"]) * update / self.c["joint"])
            for k in range(2):
                self.draw(draws[k])
                now = self.nets(self.params)
                last = self.generate(now)[3]
                losses.update(self.generator_losses(now)[1])
                self.descend(lambda n: self.generator_losses(n)[0], "generator", "supervisor")
                if not self.c["latent"]:
                    self.carry.update(last)
                losses["R"] = self.reconstruction(self.nets(self.params))
                self.descend(self.embedder_loss, "embedder", "recovery")
            self.draw(draws[2])
            now = self.nets(self.params)
            last = self.generate(now)[3]
            losses["D"] = self.discriminator_loss(now)
            assert losses["D"] > self.c["threshold"]
            self.descend(self.discriminator_loss, "discriminator")
            if not self.c["latent"]:
                self.carry.update(last)
        return losses


def numbers(x):
    return [float(f"{v:.9g}") for v in np.asarray(x).ravel()]


def run(path):
    given = json.loads(path.read_text())
    m, steps = Model(given), []
    for phase in range(3):
        for update in range(2):
            draws = [d for d in given["Draws"] if (d["Phase"], d["Update"]) == (phase, update)]
            losses = m.update(phase, update, draws)
            step = {
                "Phase": phase, "Update": update, "Losses": {k: float(v) for k, v in losses.items()},
                "Params": {k: numbers(v) for k, v in m.params.items()},
                "Hidden": {n: numbers(h) for n, h in m.carry.items() if h is not None},
                "Clock": numbers(m.clock if phase == 2 else np.zeros(m.B)),
            }
            if update == 1:
                for name, of in (("M", m.m), ("V", m.v)):
                    step[name] = {n: numbers(np.concatenate([v.ravel() for k, v in of.items() if k.startswith(n + ".")])) for n in NETWORKS}
            steps.append(step)
    out = path.with_name(path.name.replace(".in.", ".out."))
    out.write_text(json.dumps(steps, separators=(",", ":")) + "\n")
    print(out, file=sys.stderr)


for p in sorted(pathlib.Path(__file__).parent.glob("*.in.json")):
    run(p)
