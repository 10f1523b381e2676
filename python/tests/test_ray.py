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


def test_rows_of_a_failure(binary: str) -> None:
    """What the command said is in the error; a caller that goes away ends it."""
    with pytest.raises(RuntimeError, match="no-such"):
        list(pray._rows([binary, "train", "--scenario", "no-such"]))
    rows = pray._rows([binary, "train", "--scenario", "cartpole", "--progress", "json",
                       "--steps", "100000000", "--out", "/tmp/planegym-never"])  # fmt: skip
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


def test_train_on_tune(cluster: Any, tmp_path: Path) -> None:
    """Rows as they come, a scheduler that stops trials early, and a trial that goes on from
    its checkpoint with the weights of one that was not interrupted."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    steps = {"scenario": "synthetic", "checkpoint_every": 1000, "set": {"hidden": [16]}}
    tuner = tune.Tuner(
        tune.with_resources(pray.train(steps=6000, **steps), {"cpu": 1}),
        param_space={"set": {"n_step": tune.grid_search([1, 3, 5, 7])}},
        tune_config=tune.TuneConfig(
            metric="reward",
            mode="max",
            scheduler=ASHAScheduler(
                time_attr="step", max_t=6000, grace_period=1000, reduction_factor=2
            ),
        ),
        run_config=tune.RunConfig(name="t", storage_path=str(tmp_path), verbose=0),
    )
    results = tuner.fit()
    assert not results.errors
    done = sorted(r.metrics["step"] for r in results)
    assert done[-1] >= 6000
    assert done[0] < 6000
    best = results.get_best_result()
    assert best.checkpoint is not None
    assert (Path(best.checkpoint.path) / "policy.safetensors").exists()
    assert len(best.metrics_dataframe) > 3
