"""One peer of bench/compute.py, in a process of its own.

    python compute_peers.py torch|sb3|ydata THREADS [--port DIR] [--device cuda]

It reads work as lines of JSON, {"work": name, "shape": {...}, "seconds": s},
runs it for about so long after a warm-up, and answers each with a line
{"n": runs, "cpu": seconds, "wall": seconds}. The first line it writes names
what was imported.
"""

from __future__ import annotations

import json
import os
import sys
import time
from types import SimpleNamespace


def gru(shape):
    """One training step of nn.GRU: forward, backward, Adam."""
    import torch

    net = torch.nn.GRU(shape["H"], shape["H"], shape["L"])
    opt = torch.optim.Adam(net.parameters(), 1e-3)
    x = (torch.rand(shape["T"], shape["B"], shape["H"]) * 2 - 1).requires_grad_()

    def step(n):
        for _ in range(n):
            opt.zero_grad()
            y, _ = net(x)
            y.backward(y.detach())
            opt.step()

    return step


EMBEDDINGS = [(3, 3), (3, 4)]  # classes, width
DENSE = 42
HEADS = [(3, []), (3, [0]), (5, [0, 1]), (24, [1]), (24, [3]), (24, [3, 4]), (16, []), (16, [])]  # classes, given


def closed_loop(hidden):
    """The network of a closed loop, as BenchmarkPeers of internal/seq has it."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.embeddings = nn.ModuleList(nn.Embedding(n, d) for n, d in EMBEDDINGS)
            self.gru = nn.GRU(DENSE + sum(d for _, d in EMBEDDINGS), hidden)
            self.head = nn.Linear(hidden, sum(n for n, _ in HEADS))
            self.given = nn.ModuleList(nn.ModuleList(nn.Embedding(HEADS[g][0], n) for g in given) for n, given in HEADS)

        def forward(self, tokens, dense, start=None):
            """The logits [T,B,classes] of the heads, without what is given, and the states."""
            x = torch.cat([*(e(tokens[..., i]) for i, e in enumerate(self.embeddings)), dense], -1)
            h, last = self.gru(x, start)
            return self.head(h).split([n for n, _ in HEADS], -1), last

        def logits(self, h, plain, values):
            """The logits of head h, given the classes of earlier ones."""
            for table, g in zip(self.given[h], HEADS[h][1]):
                plain = plain + table(values[g])
            return plain

    return Network()


def train(shape):
    """An update: masked cross-entropy of all heads, AdamW, clipping, averaged weights."""
    import torch
    from torch.nn import functional

    t, b = shape["T"], shape["B"]
    net = closed_loop(shape["H"])
    average = [p.detach().clone() for p in net.parameters()]
    matrices = [p for p in net.parameters() if p.dim() == 2]
    rest = [p for p in net.parameters() if p.dim() != 2]
    opt = torch.optim.AdamW([{"params": matrices, "weight_decay": 1e-4}, {"params": rest, "weight_decay": 0.0}], lr=2e-3)
    tokens = torch.stack([torch.randint(0, n, (t, b)) for n, _ in EMBEDDINGS], -1)
    dense = torch.rand(t, b, DENSE) * 2 - 1
    values = [torch.randint(0, n, (t, b)) for n, _ in HEADS]
    targets = [torch.where(torch.rand(t, b) < 0.05, torch.full_like(v, -1), v) for v in values]

    def step(n):
        for _ in range(n):
            opt.zero_grad(set_to_none=True)
            plain, _ = net(tokens, dense)
            loss = sum(
                functional.cross_entropy(net.logits(h, y, values).flatten(0, 1), targets[h].flatten(), ignore_index=-1, reduction="sum")
                for h, y in enumerate(plain)
            )
            (loss / (t * b)).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            opt.step()
            with torch.no_grad():
                torch._foreach_mul_(average, 0.99)
                torch._foreach_add_(average, list(net.parameters()), alpha=0.01)

    return step


def sample(shape):
    """A step of N samplers: the network, then the heads' draws one after another."""
    import torch

    n = shape["N"]
    net = closed_loop(shape["H"])
    tokens = torch.stack([torch.randint(0, k, (1, n)) for k, _ in EMBEDDINGS], -1)
    dense = torch.rand(1, n, DENSE) * 2 - 1
    state = torch.zeros(1, n, shape["H"])

    def step(k):
        nonlocal state
        with torch.inference_mode():
            for _ in range(k):
                plain, state = net(tokens, dense, state)
                values = []
                for h, y in enumerate(plain):
                    p = torch.softmax(net.logits(h, y[0], values), -1)
                    values.append(torch.multinomial(p, 1)[:, 0])

    return step


def port(shape):
    """Updates by the trainers of the PyTorch port of TimeGAN, as they are."""
    import torch
    from models import utils
    from models.timegan import TimeGAN

    t, b, f = shape["T"], shape["B"], shape["F"]
    args = SimpleNamespace(
        device="cpu", feature_dim=f, Z_dim=f, hidden_dim=shape["H"], num_layers=3, padding_value=-1.0,
        max_seq_len=t, batch_size=b, dis_thresh=0.15, emb_epochs=1, sup_epochs=1,
    )
    utils.trange = lambda n, desc: Quiet(range(n))
    model = TimeGAN(args)
    opt = {
        k: torch.optim.Adam(getattr(model, n).parameters(), 1e-3)
        for k, n in dict(e="embedder", r="recovery", s="supervisor", g="generator", d="discriminator").items()
    }
    batch = torch.rand(b, t, f), torch.full((b,), t, dtype=torch.long)
    train = {
        "embedding": lambda data: utils.embedding_trainer(model, data, opt["e"], opt["r"], args),
        "supervised": lambda data: utils.supervisor_trainer(model, data, opt["s"], opt["g"], args),
        "joint": lambda data: utils.joint_trainer(model, data, *(opt[k] for k in "ersgd"), args),
    }[shape["phase"]]
    return lambda n: train([batch] * n)


class Quiet:
    """What the port uses of tqdm's trange, without the bar."""

    def __init__(self, r):
        self.r = r

    def __iter__(self):
        return iter(self.r)

    def set_description(self, _):
        pass


def ydata(shape):
    """Updates by ydata-synthetic's TimeGAN, without its data pipeline, which
    it builds anew for each update."""
    import tensorflow as tf
    from ydata_synthetic.synthesizers.base import ModelParameters
    from ydata_synthetic.synthesizers.timeseries.timegan.model import TimeGAN

    t, b, f = shape["T"], shape["B"], shape["F"]
    m = TimeGAN(ModelParameters(batch_size=b, lr=5e-4, noise_dim=f, layers_dim=shape["H"], latent_dim=shape["H"], gamma=1))
    m.seq_len, m.n_seq = t, f
    m.define_gan()
    adam = [tf.keras.optimizers.Adam(1e-3) for _ in range(3)]
    x, z = tf.random.uniform((b, t, f)), tf.random.uniform((b, t, f))

    def joint():
        for _ in range(2):
            m.train_generator(x, z, adam[0])
            m.train_embedder(x, adam[1])
        if m.discriminator_loss(x, z) > 0.15:
            m.train_discriminator(x, z, adam[2])

    one = {
        "embedding": lambda: m.train_autoencoder(x, adam[0]),
        "supervised": lambda: m.train_supervisor(x, adam[0]),
        "joint": joint,
    }[shape["phase"]]

    def step(n):
        for _ in range(n):
            one()

    return step


def dqn(shape):
    """Stable-Baselines3's DQN: an update from 32 transitions of its replay, or
    the greedy actions of 256 observations."""
    import gymnasium as gym
    import numpy as np
    from stable_baselines3 import DQN

    class Noise(gym.Env):
        observation_space = gym.spaces.Box(-10, 10, (9,), np.float32)
        action_space = gym.spaces.Discrete(4)

        def reset(self, seed=None, options=None):
            return np.zeros(9, np.float32), {}

        def step(self, action):
            return np.random.randn(9).astype(np.float32), 0.0, False, False, {}

    m = DQN("MlpPolicy", Noise(), batch_size=32, buffer_size=50_000, learning_starts=1000, device="cpu")
    m.learn(1500)
    if shape["of"] == "update":
        return lambda n: m.train(n, batch_size=32)
    x = np.random.randn(256, 9).astype(np.float32)

    def act(n):
        for _ in range(n):
            m.predict(x, deterministic=True)

    return act


WORK = {"gru": gru, "train": train, "sample": sample, "port": port, "ydata": ydata, "dqn": dqn}


def main():
    peer, threads = sys.argv[1], int(sys.argv[2])
    on_gpu = "--device" in sys.argv and sys.argv[sys.argv.index("--device") + 1] == "cuda"
    if "--port" in sys.argv:
        sys.path.insert(0, sys.argv[sys.argv.index("--port") + 1])
    if peer == "ydata":
        os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS=str(threads))
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        from importlib.metadata import version

        name = f"ydata-synthetic {version('ydata-synthetic')}, TensorFlow {tf.__version__}"
    else:
        import torch

        torch.set_num_threads(threads)
        name = f"PyTorch {torch.__version__}"
        if on_gpu:  # train and sample make their tensors there
            torch.set_default_device("cuda")
        if peer == "sb3":
            import stable_baselines3

            name = f"Stable-Baselines3 {stable_baselines3.__version__}, {name}"
    answer = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stdout = sys.stderr  # what libraries print is no answer
    print(json.dumps(name), file=answer)
    made = {}
    for line in sys.stdin:
        job = json.loads(line)
        key = json.dumps([job["work"], job["shape"]])
        if key not in made:
            made[key] = WORK[job["work"]](job["shape"])
            made[key](2)
        run, n, chunk = made[key], 0, 1
        cpu, wall = time.process_time(), time.perf_counter()
        while (spent := time.perf_counter() - wall) < job["seconds"]:
            run(chunk)
            if on_gpu:
                torch.cuda.synchronize()
            n += chunk
            if spent < job["seconds"] / 8:
                chunk *= 2
        print(json.dumps({"n": n, "cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}), file=answer)


main()
