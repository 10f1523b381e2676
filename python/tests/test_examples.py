"""The examples run; those whose library is missing are skipped by name."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NEEDS = {
    "cleanrl_dqn": ("torch",),
    "offline_dataset": ("minari", "h5py"),
    "random_vector": (),
    "ray_traffic_chunks": ("ray",),
    "rllib_env_runner": ("ray", "torch"),
    "sb3_dqn": ("torch", "stable_baselines3"),
    "sb3_ppo": ("torch", "stable_baselines3"),
}
SMALL = {  # arguments that make it short, and what it then prints
    "cleanrl_dqn": ("--steps 1500 --learning-starts 500", "mean return of the last"),
    "offline_dataset": ("--episodes 3", "cartpole/random-v0: 3 episodes"),
    "random_vector": ("--envs 4 --steps 50", "4 environments"),
    "sb3_dqn": ("--steps 1100", "reward of an episode"),
    "sb3_ppo": ("--steps 500", "reward of an episode"),
}


def run(name: str, *args: str, **env: str) -> str:
    for module in NEEDS[name]:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{name}: no {module}")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(EXAMPLES / f"{name}.py"), *args],
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **env},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_are_here() -> None:
    assert sorted(NEEDS) == sorted(p.stem for p in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_help(name: str) -> None:
    said = run(name, "--help")
    assert ("--chunks" if name == "ray_traffic_chunks" else "--scenario") in said


@pytest.mark.parametrize("name", sorted(SMALL))
def test_runs(name: str, url: str, tmp_path: Path) -> None:
    args, says = SMALL[name]
    assert says in run(name, "--url", url, *args.split(), MINARI_DATASETS_PATH=str(tmp_path))


def test_launches_its_own(binary: str) -> None:
    assert "steps/s" in run("random_vector", "--envs", "1", "--steps", "9", PLANEGYM_BIN=binary)


def test_chunks_on_ray(binary: str, tmp_path: Path) -> None:
    """The trace's sessions are learnt and sampled by a cluster of this machine."""
    trace, out = tmp_path / "trace.parquet", tmp_path / "sampled.csv"
    command = [binary, "traffic", "sample", "-n", "90", "--rate", "1", "-o", str(trace)]
    subprocess.run(command, check=True, capture_output=True)
    said = run(
        "ray_traffic_chunks", str(trace), "--chunks", "3", "--updates", "8",
        "--models", str(tmp_path / "models"), "--output", str(out),
        PLANEGYM_BIN=binary, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
    )  # fmt: skip
    assert "models in" in said
    assert out.stat().st_size > 0
