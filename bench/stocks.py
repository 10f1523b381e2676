#!/usr/bin/env python3
"""The discriminative and the predictive score of Yoon et al. (2019), by PyTorch.

    stocks.py WINDOWS.safetensors [--repeats N]

WINDOWS is what `go run ./bench/stocks -o` writes: tensors real and fake [N,T,F] in [0, 1]. The protocol
is that of the authors' code: one GRU layer of F/2 units under a dense unit, Adam at 0.001, batches of
128, 2000 updates of the classifier, 5000 of the predictor. Needs numpy, torch, safetensors.
"""
import argparse, json
import numpy as np, torch
from safetensors.numpy import load_file


class Net(torch.nn.Module):
    def __init__(self, features, hidden):
        super().__init__()
        self.gru, self.out = torch.nn.GRU(features, hidden, batch_first=True), torch.nn.Linear(hidden, 1)

    def forward(self, x):
        return self.out(self.gru(x)[0])[..., 0]


def batch(x, rng, n=128):
    return x[rng.permutation(len(x))[:n]]


def discriminative(real, fake, seed):
    rng, _ = np.random.default_rng(seed), torch.manual_seed(seed)
    (a, at), (b, bt) = ((x[p[: len(p) * 4 // 5]], x[p[len(p) * 4 // 5 :]]) for x in (real, fake) for p in [rng.permutation(len(x))])
    net = Net(real.shape[2], max(real.shape[2] // 2, 1))
    adam, bce = torch.optim.Adam(net.parameters(), 1e-3), torch.nn.functional.binary_cross_entropy_with_logits
    for _ in range(2000):
        y, z = net(batch(a, rng))[:, -1], net(batch(b, rng))[:, -1]
        loss = bce(y, torch.ones_like(y)) + bce(z, torch.zeros_like(z))
        adam.zero_grad(), loss.backward(), adam.step()
    with torch.no_grad():
        right = (net(at)[:, -1] > 0).sum() + (net(bt)[:, -1] <= 0).sum()
    return abs(.5 - right.item() / (len(at) + len(bt)))


def predictive(real, fake, seed):
    rng, _ = np.random.default_rng(seed), torch.manual_seed(seed)
    net = Net(real.shape[2] - 1, max(real.shape[2] // 2, 1))
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    error = lambda x: (torch.sigmoid(net(x[:, :-1, :-1])) - x[:, 1:, -1]).abs().mean()
    for _ in range(5000):
        loss = error(batch(fake, rng))
        adam.zero_grad(), loss.backward(), adam.step()
    with torch.no_grad():
        return error(real).item()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("windows"), p.add_argument("--repeats", type=int, default=10)
    a = p.parse_args()
    torch.set_num_threads(1)
    w = load_file(a.windows)
    real, fake = torch.from_numpy(w["real"].copy()), torch.from_numpy(w["fake"].copy())
    out = {"torch": torch.__version__, "windows": len(real)}
    for name, score, x in (("discriminative", discriminative, fake), ("predictive", predictive, fake), ("predictive_of_real", predictive, real)):
        v = [score(real, x, seed) for seed in range(a.repeats)]
        out[name] = {"mean": float(np.mean(v)), "sd": float(np.std(v, ddof=1)) if len(v) > 1 else 0., "repeats": v}
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
