"""Training and inference on the CPU beside their peers, in one run on one machine.

    pip install -r bench/requirements-compute.txt
    python bench/compute.py [--rounds 5] [--seconds 1] [--only REGEX] [--write bench/RESULTS.md]
                            [--threads 1,2] [--ydata PYTHON] [--port DIR]

Kinds take turns within a round; a factor is the median over rounds of the
quotient within a round, a time the median over rounds. Times are processor time
with one thread, and wall time with whichever number of threads is best. Read
the factors: they hold across machines, times do not.

Peers: PyTorch's nn.GRU; a public PyTorch port of TimeGAN, fetched at a pinned
commit; Stable-Baselines3's DQN; with --ydata ydata-synthetic's TimeGAN in the
Python that has it (bench/requirements-ydata.txt). --port is a copy of the port
where GitHub cannot be reached.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PORT = "birdx0810/timegan-pytorch", "fb44aab7493ec21306ef968964a925d8c74382f4"
HEADING = "## Compute on the CPU"

# What is measured: its name, our benchmark {kernels} and {threads} filled in,
# and per peer the work of compute_peers.py.
WORK = []
for H, L, T in [(24, 1, 24), (24, 3, 24), (24, 1, 50), (24, 3, 50), (32, 3, 24), (48, 3, 24), (64, 3, 24), (96, 3, 24)]:
    shape = {"H": H, "L": L, "T": T, "B": 128}
    WORK.append((f"GRU step H{H}, {L} layer{'s' * (L > 1)}, T{T}, B128", "internal/nn", f"GRUStep/H{H}_L{L}_T{T}_B128", {"torch": ("gru", shape)}))
for H in (64, 96, 128):  # the network of a closed loop
    WORK.append((f"Closed loop, update H{H} T192 B32", "internal/seq", f"Peers/train_H{H}", {"torch": ("train", {"H": H, "T": 192, "B": 32})}))
    WORK.append((f"Closed loop, sampling H{H} N1024", "internal/seq", f"Peers/sample_H{H}", {"torch": ("sample", {"H": H, "N": 1024})}))
for H, T, B, F in [(24, 24, 128, 6), (20, 50, 100, 16)]:
    for phase in ("embedding", "supervised", "joint"):
        shape = {"H": H, "T": T, "B": B, "F": F, "phase": phase}
        WORK.append((
            f"TimeGAN {phase}, H{H} T{T} B{B} F{F}", "timegan", f"Phase/H{H}_T{T}_B{B}_F{F}/{phase}",
            {"torch": ("port", shape), "ydata": ("ydata", shape)},
        ))
WORK.append(("DDQN update, batch 32", "agent", "DDQN/update", {"sb3": ("dqn", {"of": "update"})}))
WORK.append(("DDQN act, N = 256", "agent", "DDQN/act", {"sb3": ("dqn", {"of": "act"})}))
LABEL = {"gru": "PyTorch's nn.GRU", "train": "PyTorch", "sample": "PyTorch", "port": "timegan-pytorch", "ydata": "ydata-synthetic", "dqn": "Stable-Baselines3"}
SIMULATOR = ("Simulator step, N = 1024", "timegan", "Simulator", {})


def port(given: str | None, into: str) -> str:
    """A folder with the PyTorch port."""
    if given:
        return given
    repo, commit = PORT
    with urllib.request.urlopen(f"https://codeload.github.com/{repo}/tar.gz/{commit}") as r:
        tarfile.open(fileobj=io.BytesIO(r.read())).extractall(into, filter="data")
    return str(Path(into) / f"{repo.split('/')[1]}-{commit}")


class Peer:
    """A process of compute_peers.py."""

    def __init__(self, python: str, kind: str, threads: int, port: str) -> None:
        self.process = subprocess.Popen(
            [python, str(ROOT / "bench/compute_peers.py"), kind, str(threads), "--port", port],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        self.name = self.line()

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(self.process.args)} ended: {self.process.wait()}; run it by hand to see why")
        return json.loads(line)

    def run(self, work: str, shape: dict, seconds: float) -> dict:
        self.process.stdin.write(json.dumps({"work": work, "shape": shape, "seconds": seconds}) + "\n")
        self.process.stdin.flush()
        r = self.line()
        return {"cpu": r["cpu"] / r["n"], "wall": r["wall"] / r["n"]}


class Ours:
    """The Go benchmarks, compiled once."""

    def __init__(self, into: str, work: list) -> None:
        self.into = into
        for p in {w[1] for w in work}:
            subprocess.run(["go", "test", "-c", "-o", f"{into}/{p.replace('/', '_')}", f"./{p}"], cwd=ROOT, check=True)

    def run(self, package: str, benchmark: str, seconds: float) -> dict:
        pattern = "^Benchmark" + "$/^".join(benchmark.split("/")) + "$"
        out = subprocess.run(
            [f"{self.into}/{package.replace('/', '_')}", "-test.run", "^$", "-test.bench", pattern, "-test.benchtime", f"{seconds}s"],
            cwd=ROOT / package, check=True, capture_output=True, text=True,
        ).stdout
        rows = [line.split() for line in out.splitlines() if line.startswith("Benchmark")]
        if len(rows) != 1:
            raise SystemExit(f"{benchmark} is {len(rows)} benchmarks:\n{out}")
        metrics = {unit: float(v) for v, unit in zip(rows[0][2::2], rows[0][3::2])}
        return {"cpu": metrics["cpu-ns/op"] / 1e9, "wall": metrics["ns/op"] / 1e9, **metrics}


def machine() -> str:
    text = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", text)
    sets = [s for s in ("avx2", "avx512f") if re.search(rf"\b{s}\b", text)]
    go = subprocess.run(["go", "version"], capture_output=True, text=True, check=True).stdout.split()[2]
    return f"{model[1] if model else platform.machine()} ({', '.join(sets)}), {os.cpu_count()} virtual cores, Linux {platform.release()}, {go}"


def ms(seconds: float) -> str:
    unit, scale = next((u, s) for u, s in (("s", 1), ("ms", 1e-3), ("µs", 0)) if seconds >= s)
    return f"{seconds / (scale or 1e-6):.3g} {unit}"


def middle(rounds: list[dict], key: str) -> float:
    return statistics.median(r[key] for r in rounds)


def factor(of: list[dict], ours: list[dict], key: str) -> float:
    return statistics.median(a[key] / b[key] for a, b in zip(of, ours))


def section(results: dict, names: dict[str, str], kernels: list[str], threads: list[int], rounds: int, load: tuple) -> str:
    """The results as Markdown. results: (work, kind, threads) → rounds."""
    best = kernels[0]
    lines = [
        HEADING, "",
        f"`python bench/compute.py`, {rounds} rounds, on {machine()}; load average {load[0]:.1f} at the start and {os.getloadavg()[0]:.1f} at the end.",
        f"Peers: {'; '.join(names.values())}; timegan-pytorch is github.com/{PORT[0]} at {PORT[1][:7]}, on PyTorch.",
        "Processor time per operation with one thread; × is how many times longer the peer takes, the median over rounds of the quotient within a round.",
        f"Wall: the peer's best number of threads over ours, among {' and '.join(map(str, threads))}.", "",
        "| work | peer | its time | " + " | ".join(f"{k} | ×" for k in kernels) + " | wall × |",
        "|---|---|---|" + "---|---|" * len(kernels) + "---|",
    ]
    for work, _, _, peers in WORK:
        for kind in peers:
            if (work, kind, 1) not in results:
                continue
            theirs = results[work, kind, 1]
            row = [work, LABEL[peers[kind][0]], ms(middle(theirs, "cpu"))]
            for k in kernels:
                ours = results[work, k, 1]
                row += [ms(middle(ours, "cpu")), f"**{factor(theirs, ours, 'cpu'):.1f}**"]
            fastest = {side: min((results[work, s, t] for t in threads), key=lambda r: middle(r, "wall")) for side, s in (("peer", kind), ("ours", best))}
            row.append(f"{factor(fastest['peer'], fastest['ours'], 'wall'):.1f}")
            lines.append("| " + " | ".join(row) + " |")
    lines += ["", "| ours alone | kernels | processor time | |", "|---|---|---|---|"]
    for k in kernels:
        if r := results.get((SIMULATOR[0], k, 1)):
            lines.append(f"| {SIMULATOR[0]} | {k} | {ms(middle(r, 'cpu'))} | {middle(r, 'steps/cpu-s'):,.0f} environment steps per second and core, {middle(r, '%peak'):.0f} % of its multiply-adds |")
    phases = [f"TimeGAN {p}, H24 T24 B128 F6" for p in ("embedding", "supervised", "joint")]
    if all((p, best, 1) in results for p in phases):
        minutes = [10_000 / 60 * sum(middle(results[p, best, t], key) for p in phases) for t, key in ((1, "cpu"), (threads[-1], "wall"))]
        lines.append(
            f"| 10,000 updates of each phase in the paper's setting, by the above | {best} | {minutes[0]:.0f} min "
            f"| {minutes[1]:.0f} min wall with {threads[-1]} thread{'s' * (threads[-1] > 1)} beside the load named above |"
        )
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> None:
    """Puts text in place of the section of its heading, or at the end."""
    old = path.read_text() if path.exists() else "# Results\n"
    pattern = re.compile(rf"^{re.escape(HEADING)}\n.*?(?=^## |\Z)", re.S | re.M)
    new = pattern.sub(lambda _: text + "\n", old) if pattern.search(old) else old.rstrip("\n") + "\n\n" + text
    temporary = path.with_suffix(".tmp")
    temporary.write_text(new.rstrip("\n") + "\n")
    temporary.replace(path)


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--seconds", type=float, default=1, help="per measurement")
    a.add_argument("--only", default="", help="a regular expression of what to measure")
    a.add_argument("--threads", default="1,2", help="numbers of threads, 1 among them")
    a.add_argument("--kernels", default="avx512,avx2", help="kernel sets, the one to compare first")
    a.add_argument("--ydata", help="a Python that has ydata-synthetic")
    a.add_argument("--port", help="a copy of the PyTorch port")
    a.add_argument("--write", type=Path, help="the file whose section is replaced; without it the section is printed")
    o = a.parse_args()
    kernels, threads, load = o.kernels.split(","), [int(t) for t in o.threads.split(",")], os.getloadavg()
    todo = [w for w in [*WORK, SIMULATOR] if re.search(o.only, w[0])]
    if not todo:
        raise SystemExit(f"--only {o.only!r} matches none of: " + "; ".join(w[0] for w in [*WORK, SIMULATOR]))
    with tempfile.TemporaryDirectory() as tmp:
        needed = any(work == "port" for w in todo for work, _ in w[3].values())
        ours, source = Ours(tmp, todo), port(o.port, tmp) if needed else tmp
        pythons = {"torch": sys.executable, "sb3": sys.executable, "ydata": o.ydata}
        kinds = {k for w in todo for k in w[3] if pythons[k]}
        peers = {(k, t): Peer(pythons[k], k, t, source) for k in sorted(kinds) for t in threads}
        results: dict[tuple, list] = {}
        for r in range(o.rounds):
            for work, package, benchmark, wanted in todo:
                for t in threads:
                    for k in kernels:
                        if t == 1 or k == kernels[0]:
                            got = ours.run(package, f"{benchmark}/{k}/threads{t}", o.seconds)
                            results.setdefault((work, k, t), []).append(got)
                    for kind in wanted:
                        if (kind, t) in peers:
                            got = peers[kind, t].run(*wanted[kind], o.seconds)
                            results.setdefault((work, kind, t), []).append(got)
            print(f"round {r + 1} of {o.rounds}", file=sys.stderr)
            text = section(results, {k: p.name for (k, _), p in peers.items()}, kernels, threads, r + 1, load)
            if o.write:
                write(o.write, text)  # what there is so far: a run is long
        for p in peers.values():
            p.process.stdin.close()
            p.process.wait()
    if not o.write:
        print(text)


main()
