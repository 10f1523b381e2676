"""planegym on Ray: Tune runs its commands, RLlib's runners sample its servers.

    from planegym import ray as pray

    tuner = tune.Tuner(pray.train(scenario="synthetic", steps=20_000),
                       param_space={"set": {"n_step": tune.choice([1, 3, 5])}})
    pray.sweep("study", data="recordings", preset="9")         # over the cluster
    models = pray.traffic_fit_chunks("trace.parquet", "models")  # a chunk a task
    servers = pray.serve()                                      # one a node
    config.environment(pray.make, env_config={"servers": servers, "scenario": "synthetic"})

It needs ray (`pip install 'ray[tune,rllib]'`, and torch for RLlib: where no GPU is,
`pip install torch --index-url https://download.pytorch.org/whl/cpu` before it).
docs/scale.md shows it at work.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

try:
    import ray
except ImportError as e:
    raise ImportError(
        "planegym.ray needs Ray: pip install 'ray[tune]', or 'ray[tune,rllib]' and torch for "
        "RLlib; torch first, where no GPU is, by `pip install torch --index-url "
        "https://download.pytorch.org/whl/cpu`, or pip fetches 3 GB of CUDA"
    ) from e

from ._chunks import traffic_fit_chunks, traffic_sample_chunks
from ._command import Config, flags, rows
from ._launch import Server, find_binary, launch
from .env import Env
from .errors import DrainingError, PlanegymError, ServerNotRunningError, SessionLostError
from .vector import AutoresetMode, VectorEnv

__all__ = [
    "Place", "ResilientEnv", "ResilientVectorEnv", "Servers", "fit", "flags", "make", "rows",
    "serve", "sweep", "traffic_fit", "traffic_fit_chunks", "traffic_sample_chunks", "train",
]  # fmt: skip

LOST = (SessionLostError, ServerNotRunningError, DrainingError)

# --- Ray Tune: a command as a trainable


def train(**options: Any) -> Callable[[Config], None]:
    """`planegym train` as a trainable of Ray Tune. options and each trial's
    config are its flags: scenario="cartpole" is --scenario cartpole, set={"n_step":
    5} is --set n_step=5, freeze=True is --freeze; a trial's win.

    Metrics are those of --progress json: step (its done), total, updates, episodes, reward (the
    mean of a step since the last report), return (of the last 100 episodes, once one
    has ended), loss, target, epsilon, seconds. The last checkpoint has policy.safetensors.
    A trial that a scheduler stops ends its
    process; one that is paused, cloned or restarted goes on from its checkpoint by
    --resume. Give it a core, or a share of a GPU, with tune.with_resources.
    """
    return _Command("train", {"evaluate": 0, **options}, out="--out", resume="--resume")


def fit(**options: Any) -> Callable[[Config], None]:
    """`planegym fit` as a trainable; see train. Metrics are phase, step and total, and of
    mode closed_loop nats_per_second, else a loss each (loss_R, loss_S, …). The last row has
    the numbers of the command's result, too: fidelity_effect_error, fidelity_KS, …"""
    return _Command("fit", options, out="-o", file="model.safetensors")


def traffic_fit(**options: Any) -> Callable[[Config], None]:
    """`planegym traffic fit` as a trainable; see train. Metrics are phase, step, total and
    the mode's losses: loss_…. A mode that fits in one pass is fitted anew on a restart."""
    return _Command("traffic fit", options, out="-o", file="model.safetensors")


@dataclass
class _Command:
    """A planegym command that reports to Ray Tune as it goes."""

    command: str
    options: dict[str, Any]
    out: str
    file: str = ""
    resume: str = ""
    binary: str | None = None

    def __post_init__(self) -> None:
        self.__name__ = "planegym_" + self.command.replace(" ", "_")

    def __call__(self, config: Config) -> None:
        from ray import tune

        merged = {**self.options, **config}
        for k in self.options.keys() & config.keys():
            if isinstance(self.options[k], Mapping) and isinstance(config[k], Mapping):
                merged[k] = {**self.options[k], **config[k]}
        with tempfile.TemporaryDirectory(prefix="planegym-") as folder:
            run = Path(folder) / "run"
            run.mkdir()
            checkpoint = tune.get_checkpoint()
            if checkpoint is not None:
                with checkpoint.as_directory() as past:
                    shutil.copytree(past, run, dirs_exist_ok=True)
            again = checkpoint is not None and self._saved(run) > 0
            args = self._args(merged, run, again)
            saved = self._saved(run)
            metrics: dict[str, Any] = {}
            result: dict[str, Any] = {}
            for row in rows([self.binary or find_binary(), *args], result):
                row["step"] = row.pop("done", 0)  # Tune has a "done" of its own
                metrics = {k: v for k, v in row.items() if k not in ("event", "command", "losses")}
                metrics |= {f"loss_{k}": v for k, v in row.get("losses", {}).items()}
                now = self._saved(run)
                if now == saved:
                    tune.report(metrics)
                else:
                    saved = now
                    self._report(metrics, run, Path(folder) / "still")
            self._report({**metrics, **_numbers(result)}, run, Path(folder) / "still")

    def _report(self, metrics: dict[str, Any], run: Path, still: Path) -> None:
        """Report, with what the command has written so far as the checkpoint."""
        from ray import tune

        still.mkdir()  # the command goes on writing, and what Ray copies must not change
        for file in run.iterdir():
            if not file.name.startswith("."):
                shutil.copy2(file, still)
        tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(str(still)))
        shutil.rmtree(still)

    def _args(self, options: dict[str, Any], run: Path, again: bool) -> list[str]:
        args = [*self.command.split(), "--json", "--progress", "json"]
        if again and self.resume:  # everything but these is in the checkpoint
            kept = {"steps", "evaluate", "checkpoint_every", "url", "kernels", "threads"}
            options = {k: v for k, v in options.items() if k in kept}
            return [*args, self.resume, str(run), *flags(options)]
        args += [self.out, str(run / self.file) if self.file else str(run), *flags(options)]
        return [*args, "--resume"] if again else args

    def _saved(self, run: Path) -> float:
        """When the checkpoint was written last."""
        file = run / (self.file or "checkpoint.safetensors")
        return file.stat().st_mtime_ns if file.exists() else 0


def _numbers(result: dict[str, Any]) -> dict[str, float]:
    """The numbers of a command's result, those one level down as OUTER_INNER."""
    flat: dict[str, float] = {}
    for name, value in result.items():
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        inner = {f"{name}_{k}": v for k, v in value.items()} if isinstance(value, dict) else {}
        for k, v in {name: value, **inner}.items():
            if isinstance(v, (int, float)) and not isinstance(v, bool) and name != "config":
                flat[k] = v
    return flat


# --- a sweep over the cluster


def sweep(
    folder: str | os.PathLike[str],
    *,
    shards: int | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0,
    binary: str | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """`planegym sweep` as tasks of a Ray cluster, into the folder that `planegym select
    --sweep` reads, here. A task trains a shard; one whose node dies is run again
    elsewhere, and shards that the folder has already are left out.

    Args:
        folder: of the result, on this machine; made where it is missing.
        shards: tasks; default: one a model of the grid.
        num_cpus, num_gpus: of a task, which trains num_cpus models at a time.
        binary: planegym on the nodes; default: what find_binary finds there.
        options: flags of sweep, as in train; data must be "bundled" or a path that
            every node has.

    Returns:
        Every model's status, as in result.json.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    args = flags({"workers": max(1, int(num_cpus)), **options})
    here = binary or find_binary()
    listed = subprocess.run(
        [here, "sweep", "--list", "--json", *args], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        raise ValueError(f"planegym sweep: {(listed.stderr or listed.stdout).strip()}")
    n = shards or len(json.loads(listed.stdout)["models"])
    waiting = {}
    for i in range(1, n + 1):
        if not _complete(folder / f"result.{i}-of-{n}.json"):
            task: Any = ray.remote(_shard).options(
                num_cpus=num_cpus, num_gpus=num_gpus, max_retries=3
            )
            waiting[task.remote(args, i, n, binary)] = i
    while waiting:
        (ready, *_), _ = ray.wait(list(waiting))
        del waiting[ready]
        files = ray.get(ready)
        for name in sorted(files, key=lambda f: f.startswith("result.")):  # results come last
            (folder / f".{name}.part").write_bytes(files[name])
            (folder / f".{name}.part").replace(folder / name)
    parts = [json.loads((folder / f"result.{i}-of-{n}.json").read_text()) for i in range(1, n + 1)]
    longest = max(len(p) for p in parts)
    return [p[k] for k in range(longest) for p in parts if k < len(p)]


def _complete(result: Path) -> bool:
    if not result.exists():
        return False
    return all(m["state"] in ("done", "stopped early") for m in json.loads(result.read_text()))


def _shard(args: list[str], i: int, n: int, binary: str | None) -> dict[str, bytes]:
    """Train a shard, and give its files."""
    with tempfile.TemporaryDirectory(prefix="planegym-") as out:
        command = [binary or find_binary(), "sweep", "--shard", f"{i}/{n}", "-o", out, *args]
        for _ in rows([*command, "--progress", "json"]):
            pass
        return {p.name: p.read_bytes() for p in Path(out).iterdir() if p.is_file()}


# --- a server per node


@dataclass(frozen=True)
class Place:
    """Where a node's server is. generation counts the servers that there were."""

    url: str
    node: str
    generation: int
    token: str = field(default="", repr=False)


class _Host:
    """An actor that keeps a server running on its node."""

    def __init__(self, args: list[str], binary: str | None) -> None:
        self.args, self.binary = args, binary
        self.server: Server | None = None
        self.generation = 0
        self.lock = threading.Lock()

    def place(self) -> Place:
        """Where the server is; a new one is started where there is none any more."""
        with self.lock:
            util: Any = ray.util
            address: str = util.get_node_ip_address()
            if self.server is None or self.server.process.poll() is not None:
                args = list(self.args)
                self.token = ""
                if not any(a.split("=")[0] in ("--addr", "--unix") for a in args):
                    args += ["--addr", f"{address}:0"]
                if not address.startswith("127."):  # others reach it: they need the token
                    self.token = secrets.token_urlsafe(32)
                    self.secret = tempfile.NamedTemporaryFile("w", suffix=".token")  # noqa: SIM115
                    self.secret.write(self.token + "\n")
                    self.secret.flush()
                    args += ["--token-file", self.secret.name]
                self.server = launch(args=args, binary=self.binary)
                self.generation += 1
            node = ray.get_runtime_context().get_node_id()
            return Place(self.server.url, node, self.generation, self.token)

    def pid(self) -> int:
        """Of the server's process."""
        self.place()
        assert self.server is not None
        return self.server.process.pid


@dataclass
class Servers:
    """Handles of the servers of a cluster; plain enough to be sent to runners."""

    hosts: list[Any]
    nodes: list[str]

    def near(self, index: int = 0) -> list[Any]:
        """The actors in the order in which a runner tries them: those of its node
        first, begun at the index-th, so that runners spread."""
        here = ray.get_runtime_context().get_node_id()
        pairs = list(zip(self.hosts, self.nodes, strict=True))
        pools = [h for h, n in pairs if n == here], [h for h, n in pairs if n != here]
        return [p[(index + k) % len(p)] for p in pools for k in range(len(p))]

    def places(self) -> list[Place]:
        """Where all servers are."""
        return list(ray.get([h.place.remote() for h in self.hosts]))

    def close(self) -> None:
        """End the servers."""
        for h in self.hosts:
            ray.kill(h)


def serve(*args: str, per_node: int = 1, num_cpus: float = 0, binary: str | None = None) -> Servers:
    """Start a server on every node of the cluster: an actor that launches
    `planegym serve`, publishes where it is and starts another when it has died.

    Args:
        args: more arguments of `planegym serve`.
        per_node: servers a node.
        num_cpus: that Ray reserves for each.
        binary: planegym on the nodes; default: what find_binary finds there.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    cluster: Any = ray
    nodes = [n["NodeID"] for n in cluster.nodes() if n["Alive"] for _ in range(per_node)]
    actor = ray.remote(_Host)
    hosts = [
        actor.options(
            num_cpus=num_cpus,
            max_restarts=-1,
            max_concurrency=8,
            scheduling_strategy=NodeAffinitySchedulingStrategy(n, soft=False),
        ).remote(list(args), binary)
        for n in nodes
    ]
    servers = Servers(hosts, nodes)
    servers.places()
    return servers


# --- RLlib's environments


def make(config: Config) -> gymnasium.Env[Any, Any] | gymnasium.vector.VectorEnv[Any, Any, Any]:
    """An environment for RLlib, on the nearest of the servers.

    config has servers (what serve gave) and the arguments of planegym.Env. With
    .env_runners(gym_env_vectorize_mode="vector_entry_point") all sub-environments of a
    runner go through one session. When a server dies, running episodes are truncated
    at the last observation, and go on with the server that takes its place.
    """
    options = dict(config)
    servers, n = options.pop("servers"), options.pop("num_envs", None)
    index = getattr(config, "worker_index", 0)
    return (
        ResilientEnv(servers, index, options)
        if n is None
        else ResilientVectorEnv(servers, index, options, n)
    )


class _Link:
    """Which server is used, and the next one."""

    def __init__(self, servers: Servers, index: int, patience: float) -> None:
        self.hosts = deque(servers.near(index))
        self.patience = patience

    def connect(self, make: Callable[[Place], Any]) -> Any:
        """make at the server's place, for as long as patience, in seconds, lasts."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return make(ray.get(self.hosts[0].place.remote(), timeout=self.patience))
            except (*LOST, ray.exceptions.RayActorError) as e:
                if time.monotonic() > deadline:
                    raise
                if isinstance(e, ray.exceptions.RayActorError):
                    self.hosts.rotate(-1)  # its node is gone, too
                time.sleep(0.2)


class ResilientEnv(gymnasium.Env[np.ndarray, Any]):
    """A planegym.Env that outlives its server: the step that finds it gone truncates the
    episode, with the last observation, reward 0 and info {"server_lost": True}."""

    metadata = Env.metadata

    def __init__(
        self, servers: Servers, index: int, options: dict[str, Any], patience: float = 60.0
    ) -> None:
        self._link = _Link(servers, index, patience)
        self._options = options
        self._open()
        self.observation_space = self.env.observation_space
        self.action_space = self.env.action_space

    def _open(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        def at(place: Place) -> Any:
            self.env = Env(place.url, token=place.token or None, reconnect=0, **self._options)
            return self.env.reset(seed=seed, options=options)

        return self._link.connect(at)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Gymnasium's, on another server where the last one is gone."""
        super().reset(seed=seed)
        try:
            self._last = self.env.reset(seed=seed, options=options)
        except LOST:
            self.env.close()
            self._last = self._open(seed, options)
        return self._last

    def step(self, action: Any) -> Any:
        """Gymnasium's; see the class for a server that is gone."""
        try:
            result = self.env.step(action)
        except LOST:
            obs, info = self._last
            return obs, 0.0, False, True, {**info, "server_lost": True}
        self._last = result[0], result[4]
        return result

    def close(self) -> None:
        """End the session."""
        self.env.close()


class ResilientVectorEnv(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """A planegym.VectorEnv, NEXT_STEP, that outlives its server: the step that finds it
    gone truncates every episode, and the next one begins new ones on another server."""

    def __init__(
        self,
        servers: Servers,
        index: int,
        options: dict[str, Any],
        num_envs: int,
        patience: float = 60.0,
    ) -> None:
        self._link = _Link(servers, index, patience)
        self._options, self.num_envs = options, num_envs
        self._lost = False
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": []}
        self._open()
        for name in ("observation_space", "action_space"):
            setattr(self, name, getattr(self.env, name))
            setattr(self, f"single_{name}", getattr(self.env, f"single_{name}"))

    def _open(self, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        def at(place: Place) -> Any:
            self.env = VectorEnv(
                place.url, num_envs=self.num_envs, token=place.token or None, reconnect=0,
                **self._options,
            )  # fmt: skip
            return self.env.reset(seed=seed, options=options)

        self._lost = False
        return self._link.connect(at)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Gymnasium's, on another server where the last one is gone."""
        try:
            if self._lost:
                raise SessionLostError("the server is gone")
            result = self.env.reset(seed=seed, options=options)
        except LOST:
            self.env.close()
            result = self._open(seed, options)
        self._last = result[0]
        return result

    def step(self, actions: Any) -> Any:
        """Gymnasium's; see the class for a server that is gone."""
        none, n = np.zeros(self.num_envs, np.bool_), self.num_envs
        if self._lost:
            self._last, info = self.reset()
            return self._last, np.zeros(n), none, none.copy(), info
        try:
            result = self.env.step(actions)
        except LOST:
            self._lost = True
            info = {"server_lost": ~none, "_server_lost": ~none}
            return self._last, np.zeros(n), none, ~none, info
        self._last = result[0]
        return result

    def close_extras(self, **kwargs: Any) -> None:
        """End the session."""
        with contextlib.suppress(PlanegymError):
            self.env.close()
