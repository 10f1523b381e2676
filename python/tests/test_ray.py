"""planegym.ray on two Ray nodes of this machine. They show that it works; two nodes that
share a machine's cores show no scaling."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Ray asks for the machine's own address; with this it takes 127.0.0.1.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
ray = pytest.importorskip("ray")
from planegym import _chunks  # noqa: E402
from planegym import ray as pray  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def cluster(binary: str) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    os.environ["PLANEGYM_BIN"] = binary
    os.environ["RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS"] = "0"
    path = os.pathsep.join([str(Path(__file__).resolve().parents[1]), *filter(None, sys.path)])
    os.environ["PYTHONPATH"] = path
    node = {"num_cpus": 2, "object_store_memory": 10**8}
    two = Cluster(
        initialize_head=True,
        head_node_args={**node, "include_dashboard": False},
    )
    two.add_node(**node)
    two.wait_for_nodes()
    ray.init(address=two.address, log_to_driver=False)
    yield two
    ray.shutdown()
    two.shutdown()


def test_flags() -> None:
    assert pray.flags(
        {"scenario": "x", "set": {"a": 1, "b": [2, 3], "c": np.int64(4)}, "freeze": True,
         "evaluate": 0, "envs": None, "checkpoint_every": 5, "model": ["m", "n"]}
    ) == [
        "--scenario", "x", "--set", "a=1", "--set", "b=[2, 3]", "--set", "c=4", "--freeze",
        "--evaluate", "0", "--checkpoint-every", "5", "--model", "m", "--model", "n",
    ]  # fmt: skip


def test_rows_of_a_failure(binary: str, tmp_path: Path) -> None:
    """What the command said is in the error; a caller that goes away ends it."""
    with pytest.raises(RuntimeError, match="no-such"):
        list(pray.rows([binary, "train", "--scenario", "no-such"]))
    rows = pray.rows([binary, "train", "--scenario", "cartpole", "--progress", "json",
                       "--steps", "100000000", "--out", str(tmp_path / "run")])  # fmt: skip
    assert next(rows)["command"] == "train"
    rows.close()


def test_servers(cluster: Any) -> None:
    """A server on each node; one that is killed is replaced, and its episode truncated."""
    servers = pray.serve()
    try:
        places = servers.places()
        assert len({p.url for p in places}) == len({p.node for p in places}) == 2
        env = pray.make({"servers": servers, "scenario": "synthetic"})
        vector = pray.make({"servers": servers, "scenario": "synthetic", "num_envs": 3})
        first, _ = env.reset(seed=1)
        vector.reset(seed=1)
        env.step(0)
        vector.step(np.zeros(3, int))
        for host in servers.hosts:
            os.kill(ray.get(host.pid.remote()), signal.SIGKILL)
        last = env._last[0]
        obs, reward, terminated, truncated, info = env.step(0)
        assert (reward, terminated, truncated, info["server_lost"]) == (0.0, False, True, True)
        assert np.array_equal(obs, last)
        assert np.array_equal(env.reset(seed=1)[0], first)
        _, _, _, over, infos = vector.step(np.zeros(3, int))
        assert over.all()
        assert infos["server_lost"].all()
        obs, reward, terminated, over, _ = vector.step(np.zeros(3, int))
        assert not reward.any()
        assert not over.any()
        vector.step(np.zeros(3, int))
        assert {p.generation for p in servers.places()} >= {2}
        env.close()
        vector.close()
    finally:
        servers.close()


def test_rllib_goes_on(cluster: Any) -> None:
    """Runners on two servers, their environments batched; a server dies and PPO goes on."""
    pytest.importorskip("torch")
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.tune.registry import register_env

    servers = pray.serve()
    register_env("planegym", pray.make)
    config = (
        PPOConfig()
        .environment("planegym", env_config={"servers": servers, "scenario": "synthetic"})
        .env_runners(
            num_env_runners=2,
            num_envs_per_env_runner=4,
            rollout_fragment_length=25,
            gym_env_vectorize_mode="vector_entry_point",
        )
        .training(train_batch_size_per_learner=200, minibatch_size=100, num_epochs=1)
    )
    algo = config.build_algo()
    try:
        before = algo.train()["num_env_steps_sampled_lifetime"]
        os.kill(ray.get(servers.hosts[0].pid.remote()), signal.SIGKILL)
        for _ in range(2):
            after = algo.train()["num_env_steps_sampled_lifetime"]
        assert after >= before + 300
    finally:
        algo.stop()
        servers.close()


GRID = {"windows": [8], "hidden": [4, 5], "seeds": [1, 2]}
BASE = {"base.layers": 1, "base.noise": 2, "base.batch": 4, "base.embed": 3, "base.super": 2,
        "base.joint": 4}  # fmt: skip


def test_sweep(cluster: Any, binary: str, tmp_path: Path) -> None:
    """Tasks on two nodes make the files of one process, and go on where they stopped."""
    data = os.environ.get("PLANEGYM_DATA")
    if not data:
        pytest.skip("PLANEGYM_DATA is not set")
    options: dict[str, Any] = {"data": data, "set": {**GRID, **BASE}, "kernels": "go"}
    all_ = pray.sweep(tmp_path / "ray", **options)
    assert [m["state"] for m in all_] == ["done"] * 4
    command = [binary, "sweep", "-o", str(tmp_path / "one"), *pray.flags(options)]
    subprocess.run(command, check=True, capture_output=True)
    one = json.loads((tmp_path / "one/result.json").read_text())
    assert [(m["name"], m["M"]) for m in all_] == [(m["name"], m["M"]) for m in one]
    for m in one:
        for f in m["files"]:
            assert (tmp_path / "ray" / f).read_bytes() == (tmp_path / "one" / f).read_bytes()
    assert pray.sweep(tmp_path / "ray", **options) == all_
    with pytest.raises(ValueError, match="hiden"):
        pray.sweep(tmp_path / "none", data=data, set={"hiden": [1]})


def tuned(trainable: Any, folder: Path, space: dict[str, Any], asha: dict[str, Any]) -> Any:
    """Trials of one core each, that ASHA may stop."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    metric, mode = asha.pop("metric"), asha.pop("mode")
    scheduler = ASHAScheduler(time_attr="step", reduction_factor=2, **asha)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(metric=metric, mode=mode, scheduler=scheduler),
        run_config=tune.RunConfig(name="t", storage_path=str(folder), verbose=0),
    )
    results = tuner.fit()
    assert not results.errors
    return results


def test_train_on_tune(cluster: Any, tmp_path: Path) -> None:
    """Rows as they come, and a scheduler that stops trials early."""
    from ray import tune

    trainable = pray.train(
        scenario="synthetic", steps=6000, checkpoint_every=1000, set={"hidden": [16]}
    )
    space = {"set": {"n_step": tune.grid_search([1, 3, 5, 7])}}
    asha = {"metric": "reward", "mode": "max", "max_t": 6000, "grace_period": 1000}
    results = tuned(trainable, tmp_path, space, asha)
    done = sorted(r.metrics["step"] for r in results)
    assert done[-1] >= 6000
    assert done[0] < 6000
    best = results.get_best_result()
    assert best.checkpoint is not None
    assert (Path(best.checkpoint.path) / "policy.safetensors").exists()
    assert len(best.metrics_dataframe) > 3


@pytest.mark.parametrize(
    ("options", "grid", "metric"),
    [
        (
            {"mode": "closed_loop", "set": {"updates": 24, "batch": 8, "window": 32}},
            ("hidden", [4, 8, 12, 16]),
            "nats_per_second",
        ),
        (
            {"mode": "timegan", "set": {"embed": 400, "super": 5, "joint": 5, "batch": 8}},
            ("hidden", [4, 6, 8, 10]),
            "loss_R",
        ),
    ],
    ids=["closed_loop", "timegan"],
)
def test_fit_on_tune(
    cluster: Any, tmp_path: Path, options: dict[str, Any], grid: tuple[str, list[int]], metric: str
) -> None:
    from ray import tune

    trainable = pray.fit(data="bundled", every=4, threads=1, **options)
    asha = {"metric": metric, "mode": "min", "max_t": 1000, "grace_period": 4}
    if metric == "loss_R":  # the phase without R has no such metric: Tune asks for it in every row
        os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
    space = {"set": {grid[0]: tune.grid_search(grid[1])}}
    results = tuned(trainable, tmp_path, space, asha)
    whole = [r for r in results if "fidelity_effect_error" in r.metrics]
    assert 0 < len(whole) <= len(grid[1])
    for r in whole:
        assert r.checkpoint is not None
        assert r.metrics["step"] == r.metrics["total"]
        assert r.metrics["fidelity_effect_error"] > 0
        assert (Path(r.checkpoint.path) / "model.safetensors").stat().st_size > 0


def test_traffic_fit_on_tune(cluster: Any, tmp_path: Path) -> None:
    from ray import tune

    data = Path(os.environ.get("PLANEGYM_DATA", "")) / "traffic" / "mirage_train.parquet"
    if not data.exists():
        pytest.skip("PLANEGYM_DATA is not set, or has no traffic")
    trainable = pray.traffic_fit(data=str(data), mode="ngram")
    asha = {"metric": "step", "mode": "max", "max_t": 10**6, "grace_period": 1}
    space = {"set": {"order": tune.grid_search([1, 2, 3])}}
    for r in tuned(trainable, tmp_path, space, asha):
        assert r.metrics["sessions"] == r.metrics["step"] == r.metrics["total"]
        assert r.checkpoint is not None
        assert (Path(r.checkpoint.path) / "model.safetensors").stat().st_size > 0


# A planegym that dies, once, when its progress says that AFTER are done.
DIES = """#!{python}
import json, os, subprocess, sys, time
command = [{binary!r}, *sys.argv[1:]]
if os.path.exists({mark!r}):
    open({mark!r}, "a").write(" ".join(sys.argv))
    os.execv(command[0], command)
open({mark!r}, "w").close()
p = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
for line in p.stderr:
    print(line, end="", file=sys.stderr, flush=True)
    if line.startswith("{{") and json.loads(line).get("done", 0) >= {after}:
        p.kill()
        sys.exit(9)
sys.exit(p.wait())
"""


@pytest.mark.parametrize("command", ["train", "fit"])
def test_a_trial_goes_on(cluster: Any, binary: str, tmp_path: Path, command: str) -> None:
    """A trial whose process is killed goes on from its checkpoint by --resume, and ends
    with the bytes of a command that was not interrupted."""
    from dataclasses import replace

    from ray import tune

    options: dict[str, Any]
    if command == "train":
        trainable: Any = pray.train
        options = {"scenario": "synthetic", "steps": 40000, "evaluate": 0, "checkpoint_every": 4000,
                   "set": {"hidden": [16]}, "kernels": "go"}  # fmt: skip
        after, made, out = 15000, "policy.safetensors", tmp_path / "whole"
        target = ["--out", str(out)]
    else:
        trainable = pray.fit
        options = {"data": "bundled", "mode": "closed_loop", "every": 4, "kernels": "go",
                   "threads": 1, "set": {"updates": 60, "batch": 8, "hidden": 8}}  # fmt: skip
        after, made, out = 25, "model.safetensors", tmp_path / "whole"
        target = ["-o", str(out / "model.safetensors")]
    script, mark = tmp_path / "dies", tmp_path / "mark"
    script.write_text(
        DIES.format(python=sys.executable, binary=binary, mark=str(mark), after=after)
    )
    script.chmod(0o755)
    tuner = tune.Tuner(
        replace(trainable(**options), binary=str(script)),
        run_config=tune.RunConfig(
            name="t",
            storage_path=str(tmp_path / "ray"),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    )
    (result,) = tuner.fit()
    assert result.error is None
    assert "--resume" in mark.read_text()
    steps = result.metrics_dataframe["step"]
    assert steps.iloc[-1] == max(steps) >= steps.iloc[0]
    subprocess.run(
        [binary, *command.split(), *target, *pray.flags(options)], check=True, capture_output=True
    )
    assert (Path(result.checkpoint.path) / made).read_bytes() == (out / made).read_bytes()


@pytest.fixture(scope="module")
def trace(binary: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sessions of three minutes, of the bundled model."""
    file = tmp_path_factory.mktemp("trace") / "trace.parquet"
    command = [binary, "traffic", "sample", "-n", "180", "--rate", "1", "-o", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    return file


CHUNKS: dict[str, Any] = {"chunks": 3, "mode": "doppelganger", "kernels": "go", "seed": 2,
                          "set": {"updates": 30, "batch": 8, "hidden": 8, "width": 8}}  # fmt: skip


def one_after_another(binary: str, trace: Path, folder: Path) -> list[Path]:
    """The chunks' models, by commands."""
    folder.mkdir()
    files = [folder / f"{k}.safetensors" for k in (1, 2, 3)]
    for k, file in enumerate(files, 1):
        begin: dict[str, Any] = {"mode": CHUNKS["mode"], "set": CHUNKS["set"]}
        if k > 1:
            begin = {"from": files[0], "set": {"updates": 10}}
        args = pray.flags({"data": trace, "chunk": f"{k}/3", "kernels": "go", "seed": 2, **begin})
        command = [binary, "traffic", "fit", "-o", str(file), *args]
        subprocess.run(command, check=True, capture_output=True)
    return files


def test_chunks(cluster: Any, binary: str, trace: Path, tmp_path: Path) -> None:
    """Chunks learnt as tasks have the bytes of the commands one after another, though the
    tasks' processes or workers die halfway; called again nothing is learnt."""
    want = [f.read_bytes() for f in one_after_another(binary, trace, tmp_path / "one")]
    script, mark = tmp_path / "dies", tmp_path / "mark"
    script.write_text(CHUNK_DIES.format(python=sys.executable, binary=binary, mark=str(mark)))
    script.chmod(0o755)
    said: list[dict[str, Any]] = []
    options: dict[str, Any] = {**CHUNKS, "tune": {"updates": 10}, "every": 2}
    folder = tmp_path / "ray"
    models = pray.traffic_fit_chunks(
        trace, folder, binary=str(script), progress=said.append, **options
    )
    assert [m.read_bytes() for m in models] == want
    assert {row["chunk"] for row in said} == {1, 2, 3}
    calls = mark.read_text().splitlines()
    assert len(calls) == 6
    assert sum("--resume" in c for c in calls) == 3
    again = pray.traffic_fit_chunks(trace, folder, binary=str(script), **options)
    assert again == models
    assert len(mark.read_text().splitlines()) == 6
    with pytest.raises(ValueError, match="its models are of mode 'doppelganger'"):
        pray.traffic_fit_chunks(trace, folder, **{**options, "mode": "doppelganger-likelihood"})

    file = pray.traffic_sample_chunks(models, output=tmp_path / "all.csv", seed=7)
    parts = []
    for k, m in enumerate(models, 1):
        part = tmp_path / f"{k}.parquet"
        n = _chunks._chunk_of(m)[2]
        command = [binary, "traffic", "sample", str(m), "-n", str(n), "--seed", "7"]
        subprocess.run([*command, "-o", str(part)], check=True, capture_output=True)
        parts.append(str(part))
    other = tmp_path / "other.csv"
    command = [binary, "traffic", "convert", *parts[::-1], "--by-start", "-o", str(other)]
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert made.startswith(f"{other}: 180 sessions")
    assert file.read_bytes() == other.read_bytes()


# A planegym that dies, once a chunk, when its progress says that 6 are done: of the first
# chunk with its task's worker, of the others alone.
CHUNK_DIES = """#!{python}
import json, os, signal, subprocess, sys
command, mark = [{binary!r}, *sys.argv[1:]], {mark!r}
if "fit" not in command or "--list" in command:
    os.execv(command[0], command)
said = open(mark).read() if os.path.exists(mark) else ""
chunk = next(a for a in sys.argv if "/3" in a) if "--resume" not in sys.argv else ""
with open(mark, "a") as f:
    f.write(" ".join(sys.argv) + "\\n")
if not chunk:
    os.execv(command[0], command)
p = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
for line in p.stderr:
    print(line, end="", file=sys.stderr, flush=True)
    if line.startswith("{{") and json.loads(line).get("done", 0) >= 6:
        p.kill()
        os.kill(os.getppid() if chunk[0] == "1" else os.getpid(), signal.SIGKILL)
        sys.exit(9)
sys.exit(p.wait())
"""


def test_chunks_are_refused(cluster: Any, trace: Path, tmp_path: Path) -> None:
    """An error names the chunk, or the argument."""
    bad = {**CHUNKS, "tune": {"hidden": 9}}
    with pytest.raises(RuntimeError, match=r"chunk [23] of 3: [\s\S]*hidden: its weights are of 8"):
        pray.traffic_fit_chunks(trace, tmp_path / "bad", **bad)
    first = tmp_path / "bad" / "chunk-01-of-3.safetensors"
    with pytest.raises(RuntimeError, match=r"chunk 1 of 3: [\s\S]*hiden"):
        pray.traffic_fit_chunks(trace, tmp_path / "worse", **{**CHUNKS, "set": {"hiden": 9}})
    with pytest.raises(ValueError, match="chunks: 1; 1 is a fit of the whole"):
        pray.traffic_fit_chunks(trace, tmp_path / "x", chunks=1)
    with pytest.raises(ValueError, match="chunks: 65 is outside"):
        pray.traffic_fit_chunks(trace, tmp_path / "x", chunks=65)
    with pytest.raises(ValueError, match="no such file"):
        pray.traffic_fit_chunks(tmp_path / "none.parquet", tmp_path / "x")
    out = tmp_path / "x.parquet"
    for models, what in (
        ([], "there is none"),
        ([first, first], "chunk 1 of 3, as"),
        ([trace], "not the model of a chunk"),
    ):
        with pytest.raises(ValueError, match=what):
            pray.traffic_sample_chunks(models, output=out)
    with pytest.raises(ValueError, match=r"neither .parquet nor .csv"):
        pray.traffic_sample_chunks([first], output=tmp_path / "x.pcap")
    with pytest.raises(ValueError, match="there is no session"):
        pray.traffic_sample_chunks([first], 0, output=out)
    with pytest.raises(RuntimeError, match=r"chunk 1 of 3: [\s\S]*nolabel"):
        pray.traffic_sample_chunks([first], output=out, label="nolabel")
    assert not out.exists()


def test_a_cancelled_fit_goes_on(cluster: Any, binary: str, trace: Path, tmp_path: Path) -> None:
    """What a caller who goes away leaves in the folder is gone on with, by another call."""
    folder = tmp_path / "ray"
    options = {**CHUNKS, "set": {**CHUNKS["set"], "updates": 100}, "every": 10}
    done = []

    def stop(row: dict[str, Any]) -> None:
        done.append(row)
        if row["done"] >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pray.traffic_fit_chunks(trace, folder, progress=stop, **options)
    first = folder / "chunk-01-of-3.safetensors"
    reached = _chunks._metadata(first)["updates"]
    assert 0 < reached < 100
    done.clear()
    models = pray.traffic_fit_chunks(trace, folder, progress=done.append, **options)
    assert min(row["done"] for row in done if row["chunk"] == 1) > reached
    out = tmp_path / "whole.safetensors"
    args = pray.flags({"data": trace, "chunk": "1/3", "kernels": "go", "seed": 2,
                       "mode": CHUNKS["mode"], "set": options["set"]})  # fmt: skip
    subprocess.run(
        [binary, "traffic", "fit", "-o", str(out), *args], check=True, capture_output=True
    )
    assert models[0].read_bytes() == out.read_bytes()
