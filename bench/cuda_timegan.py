"""An update of TimeGAN on a GPU beside PyTorch's, in one run on one card.

    pip install torch
    python bench/cuda_timegan.py [--rounds 5] [--seconds 2] [--windows 24,50] [--go BINARY] [--device cuda]

BINARY is the benchmarks of internal/cuda: `go test -c -o BINARY ./internal/cuda`.
Where it is not given, go builds it.

The peer is the same TimeGAN, the paper's setting (hidden 24, batch 128, three
layers, six channels; the joint phase makes two steps of generator and embedder
for one of the discriminator): nn.GRU, which is cuDNN's on a GPU, torch.optim's
fused Adam, data that lies on the card. eager launches every kernel; graph
replays a CUDA graph of a whole update, which torch.compile cannot better for
GRUs, as it leaves them to cuDNN. Kinds take turns within a round; times are the
median over rounds, factors the median of the quotient within a round.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
HIDDEN, LAYERS, BATCH, CHANNELS, NOISE, CONDITIONS = 24, 3, 128, 6, 6, 1
RATE, GAMMA, MOMENTS, ETA, THRESHOLD = 1e-3, 1.0, 100.0, 100.0, 0.15


class Network(nn.Module):
    """A stack of GRU layers under one dense layer."""

    def __init__(self, inputs: int, outputs: int, layers: int = LAYERS, squash: bool = True) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs + CONDITIONS, HIDDEN, layers)
        self.head = nn.Linear(HIDDEN, outputs)
        self.squash = squash

    def forward(self, x: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        y = self.head(self.gru(torch.cat([x, cond], 2))[0])
        return torch.sigmoid(y) if self.squash else y


class TimeGAN:
    """The five networks, their optimisers and an update of each phase."""

    def __init__(self, window: int, device: str, capturable: bool) -> None:
        self.window, self.device = window, device
        self.e = Network(CHANNELS, HIDDEN)
        self.r = Network(HIDDEN, CHANNELS)
        self.g = Network(NOISE, HIDDEN)
        self.s = Network(HIDDEN, HIDDEN, LAYERS - 1)
        self.d = Network(HIDDEN, 1, squash=False)
        for n in (self.e, self.r, self.g, self.s, self.d):
            n.to(device)

        def adam(*networks: Network) -> torch.optim.Adam:
            p = [p for n in networks for p in n.parameters()]
            return torch.optim.Adam(p, RATE, capturable=capturable, fused=device != "cpu")

        self.autoencoder, self.supervisor = adam(self.e, self.r), adam(self.s)
        self.generator, self.discriminator = adam(self.g, self.s), adam(self.d)
        self.data = torch.rand(4000, CHANNELS, device=device)
        self.steps = torch.arange(window, device=device)[:, None]
        self.cond = torch.zeros(window, BATCH, CONDITIONS, device=device)

    def draw(self) -> torch.Tensor:
        start = torch.randint(0, 4000 - self.window, (1, BATCH), device=self.device)
        return self.data[start + self.steps]

    def embedding(self) -> None:
        x = self.draw()
        back = self.r(self.e(x, self.cond), self.cond)
        step(self.autoencoder, 10 * torch.sqrt(nn.functional.mse_loss(back, x)))

    def supervised(self) -> None:
        with torch.no_grad():
            h = self.e(self.draw(), self.cond)
        step(self.supervisor, nn.functional.mse_loss(self.s(h, self.cond)[:-1], h[1:]))

    def joint(self) -> None:
        for _ in range(2):
            x = self.draw()
            z = torch.randn(self.window, BATCH, NOISE, device=self.device)
            with torch.no_grad():
                h = self.e(x, self.cond)
            supervised = nn.functional.mse_loss(self.s(h, self.cond)[:-1], h[1:])
            own = self.g(z, self.cond)
            code = self.s(own, self.cond)
            fake = self.r(code, self.cond)
            ones = torch.ones(self.window, BATCH, 1, device=self.device)
            bce = nn.functional.binary_cross_entropy_with_logits
            deviation = torch.abs(torch.sqrt(fake.var(1, unbiased=False) + 1e-6) - torch.sqrt(x.var(1, unbiased=False) + 1e-6)).mean()
            shift = torch.abs(fake.mean(1) - x.mean(1)).mean()
            loss = bce(self.d(code, self.cond), ones) + GAMMA * bce(self.d(own, self.cond), ones)
            step(self.generator, loss + ETA * torch.sqrt(supervised) + MOMENTS * (deviation + shift))
            h = self.e(x, self.cond)
            back = nn.functional.mse_loss(self.r(h, self.cond), x)
            step(self.autoencoder, 10 * torch.sqrt(back) + 0.1 * nn.functional.mse_loss(self.s(h, self.cond)[:-1], h[1:]))
        x = self.draw()
        z = torch.randn(self.window, BATCH, NOISE, device=self.device)
        with torch.no_grad():
            h, own = self.e(x, self.cond), self.g(z, self.cond)
            code = self.s(own, self.cond)
        real, fake, first = self.d(h, self.cond), self.d(code, self.cond), self.d(own, self.cond)
        bce = nn.functional.binary_cross_entropy_with_logits
        loss = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake)) + GAMMA * bce(first, torch.zeros_like(first))
        step(self.discriminator, loss)  # the threshold of 0.15 would need the host: it always learns


def step(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    # Gradients of networks that do not learn here are not asked for, as in ours.
    p = [p for group in optimiser.param_groups for p in group["params"]]
    for x, d in zip(p, torch.autograd.grad(loss, p)):
        x.grad = d
    optimiser.step()


def eager(window: int, phase: str, device: str):
    model = TimeGAN(window, device, capturable=False)
    return getattr(model, phase)


def graph(window: int, phase: str, device: str):
    model = TimeGAN(window, device, capturable=True)
    update = getattr(model, phase)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(5):
            update()
    torch.cuda.current_stream().wait_stream(side)
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        update()
    return lambda: (model, g.replay())  # the graph's memory is the model's


def measure(update, seconds: float, sync) -> float:
    """Milliseconds an update takes."""
    for _ in range(5):
        update()
    sync()
    n, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for _ in range(10):
            update()
        sync()
        n += 10
    return 1e3 * (time.perf_counter() - begin) / n


def ours(binary: str, window: int, phase: str, seconds: float) -> float:
    name = f"^BenchmarkUpdate$/^H24_T{window}_B128_F6$/^{phase}$"
    out = subprocess.run([binary, "-test.run", "^$", "-test.bench", name, "-test.benchtime", f"{seconds}s"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"\s([0-9.]+) ns/op", out)
    if not found:
        raise SystemExit(f"{binary}: no benchmark {name}:\n{out}")
    return float(found[1]) / 1e6


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=float, default=2)
    ap.add_argument("--windows", default="24,50")
    ap.add_argument("--phases", default="embedding,supervised,joint")
    ap.add_argument("--go", help="the benchmarks' binary")
    ap.add_argument("--device", default="cuda", help="cpu tries this script where there is no GPU: PyTorch only")
    a = ap.parse_args()
    on_gpu = a.device != "cpu"
    sync = torch.cuda.synchronize if on_gpu else lambda: None
    if on_gpu and not torch.cuda.is_available():
        raise SystemExit("no usable NVIDIA GPU: torch finds none")
    with tempfile.TemporaryDirectory() as tmp:
        binary = a.go
        if on_gpu and not binary:
            binary = str(Path(tmp) / "cuda.test")
            subprocess.run(["go", "test", "-c", "-o", binary, "./internal/cuda"], cwd=ROOT, check=True)
        print(f"{torch.cuda.get_device_name() if on_gpu else 'CPU'}, PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
        print("| update | planegym ms | PyTorch ms | graphed ms | × PyTorch | × graphed |")
        print("|---|---|---|---|---|---|")
        for window in (int(w) for w in a.windows.split(",")):
            for phase in a.phases.split(","):
                kinds = {"eager": eager(window, phase, a.device)}
                if on_gpu:
                    kinds["graph"] = graph(window, phase, a.device)
                rounds = []
                for _ in range(a.rounds):
                    took = {k: measure(f, a.seconds, sync) for k, f in kinds.items()}
                    if on_gpu:
                        took["ours"] = ours(binary, window, phase, a.seconds)
                    rounds.append(took)

                def median(k: str) -> str:
                    return f"{statistics.median(r[k] for r in rounds):.3f}" if k in rounds[0] else "–"

                def factor(k: str) -> str:
                    return f"{statistics.median(r[k] / r['ours'] for r in rounds):.1f}" if k in rounds[0] and "ours" in rounds[0] else "–"

                print(f"| {phase}, H24 T{window} B128 F6 | {median('ours')} | {median('eager')} | {median('graph')} | {factor('eager')} | {factor('graph')} |", flush=True)


if __name__ == "__main__":
    main()
