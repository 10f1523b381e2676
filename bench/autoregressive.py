"""Train the network of traffic/autoregressive in PyTorch, on one thread.

    go run ./bench/autoregressive -train TRAIN -held HELD -export data.bin
    python bench/autoregressive.py data.bin 600

Same sizes, batches of 128 sessions, AdamW, clipping, warm-up, cosine, averaged
weights and dropout of tokens as planegym traffic fit --mode autoregressive
--set updates=600; prints nats a step of the held-out sessions (steps and ends,
gaps apart) and the CPU-seconds of training.
"""

from __future__ import annotations

import copy
import json
import math
import resource
import sys

import torch
from torch import nn
from torch.nn import functional


class Network(nn.Module):
    """The past's classes, position and label into a GRU, two heads out of it."""

    def __init__(self, sizes: list[int], labels: int, steps: int) -> None:
        super().__init__()
        size, gap = sizes
        self.size, self.gap = size, gap
        self.of_size = nn.Embedding(size + 1, 64, padding_idx=size)
        self.of_gap = nn.Embedding(gap + 1, 8, padding_idx=gap)
        self.position = nn.Embedding(steps + 1, 8)
        self.label = nn.Embedding(labels, 24)
        self.gru = nn.GRU(64 + 8 + 8 + 24, 128, batch_first=True)
        self.head = nn.Linear(128, size + 1 + gap)
        self.given = nn.Embedding(size + 1, gap)
        nn.init.zeros_(self.given.weight)
        for table in (self.of_size, self.of_gap, self.position, self.label):
            nn.init.uniform_(table.weight, -1, 1)
        with torch.no_grad():
            self.of_size.weight[size] = 0
            self.of_gap.weight[gap] = 0

    def forward(self, past: torch.Tensor, label: torch.Tensor, said: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        n, steps, _ = past.shape
        place = self.position(torch.arange(steps)).expand(n, -1, -1)
        x = torch.cat(
            [self.of_size(past[..., 0]), self.of_gap(past[..., 1]), place, self.label(label)[:, None].expand(-1, steps, -1)],
            2,
        )
        y = self.head(self.gru(x)[0])
        size, gap = y[..., : self.size + 1], y[..., self.size + 1 :]
        return size, gap + self.given(said.clamp(min=0))


def load(path: str) -> tuple[dict[str, object], list[torch.Tensor]]:
    """Read what bench/autoregressive -export wrote: past, label and targets of both sets."""
    with open(path, "rb") as f:
        head = json.loads(f.readline())
        body = torch.frombuffer(bytearray(f.read()), dtype=torch.int32).long()
    size, gap = head["sizes"]
    steps, cut = head["steps"], head["cut"]
    width = 2 + 2 * steps
    out = []
    for rows in body.view(-1, width).split([head["train"], head["held"]]):
        classes = rows[:, 2:].view(-1, steps, 2)
        n = len(rows)
        past = torch.cat([torch.full((n, 1, 2), -1), classes], 1)
        past[..., 0][past[..., 0] < 0] = size
        past[..., 1][past[..., 1] < 0] = gap
        said = torch.cat([classes, torch.full((n, 1, 2), -1)], 1)
        for i, length in enumerate(rows[:, 1].tolist()):
            if not cut or length < cut:
                said[i, length, 0] = size
        out += [past, rows[:, 0], said]
    return head, out


def losses(m: Network, past: torch.Tensor, label: torch.Tensor, said: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    size, gap = m(past, label, said[..., 0])
    a = functional.cross_entropy(size.flatten(0, 1), said[..., 0].flatten(), ignore_index=-1, reduction="sum")
    b = functional.cross_entropy(gap.flatten(0, 1), said[..., 1].flatten(), ignore_index=-1, reduction="sum")
    return a, b


def cpu() -> float:
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    head, (past, label, said, held_past, held_label, held_said) = load(sys.argv[1])
    updates = int(sys.argv[2])
    m = Network(head["sizes"], head["labels"], head["steps"])
    average = copy.deepcopy(m)
    size, gap = head["sizes"]
    decayed = [p for p in m.parameters() if p.dim() == 2]
    plain = [p for p in m.parameters() if p.dim() != 2]
    o = torch.optim.AdamW([{"params": decayed, "weight_decay": 1e-4}, {"params": plain, "weight_decay": 0.0}], lr=2e-3)
    before, order = cpu(), torch.randperm(len(past))
    for u in range(updates):
        at = u * 128 % len(past)
        if at + 128 > len(past):
            order = torch.randperm(len(past))
            at = 0
        rows = order[at : at + 128]
        x = past[rows].clone()
        hide = torch.rand(x.shape) < 0.1
        x[..., 0][hide[..., 0]] = size
        x[..., 1][hide[..., 1]] = gap
        warm = updates // 20
        rate = (u + 1) / warm if u < warm else 0.02 + 0.98 * (1 + math.cos(math.pi * (u - warm) / (updates - warm))) / 2
        for group in o.param_groups:
            group["lr"] = 2e-3 * rate
        a, b = losses(m, x, label[rows], said[rows])
        o.zero_grad()
        ((a + b) / (said[rows][..., 0] >= 0).sum()).backward()
        nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        o.step()
        keep = min(0.995, (u + 1) / (u + 10))
        with torch.no_grad():
            for p, q in zip(average.parameters(), m.parameters()):
                p.lerp_(q, 1 - keep)
    took = cpu() - before
    with torch.no_grad():
        total = torch.zeros(2, dtype=torch.float64)
        for i in range(0, len(held_past), 256):
            part = slice(i, i + 256)
            total += torch.stack(losses(average, held_past[part], held_label[part], held_said[part]))
    steps = int((held_said[..., 1] >= 0).sum())
    print(
        f"PyTorch {torch.__version__}: {updates} updates in {took:.1f} CPU-s, {1e3 * took / updates:.1f} ms each; "
        f"steps {(float(total[0]) - head['shares']) / steps:.4f}, gap {float(total[1]) / steps:.4f} nats a step"
    )


if __name__ == "__main__":
    main()
