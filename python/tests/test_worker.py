"""Environments of one's own behind planegym serve, beside Gymnasium stepping them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import planegym
from planegym.worker import Worker, _find

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("no unix sockets here", allow_module_level=True)


def pole(**kwargs: Any) -> gym.Env:
    return gym.make("CartPole-v1", **kwargs)


class Odd(gym.Env[Any, Any]):
    """Spaces that are flattened, infos of several kinds, and faults on demand."""

    observation_space = spaces.Dict({"n": spaces.Discrete(3), "x": spaces.Box(-1, 1, (2,))})
    action_space = spaces.MultiDiscrete([2, 4], start=[0, 10])
    metadata = {"step_seconds": 4.0}  # noqa: RUF012

    def __init__(self, fault: str = "") -> None:
        self.fault, self.steps = fault, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self._obs(), {"steps": 0, "word": "no number", "last": np.float32(-1)}

    def _obs(self) -> Any:
        return {"n": self.steps % 3, "x": np.full(2, self.np_random.uniform(-1, 1), np.float32)}

    def step(self, action: Any) -> Any:
        assert action.tolist()[1] >= 10
        self.steps += 1
        obs = self._obs()
        if self.steps == 2 and self.fault == "raise":
            raise RuntimeError("the plant is on fire")
        if self.steps == 2 and self.fault == "nan":
            obs["x"][1] = np.nan
        if self.steps == 2 and self.fault == "reward":
            return obs, float("inf"), False, False, {}
        return obs, 1.5, False, self.steps == 5, {"steps": self.steps, "last": action[1]}


@pytest.fixture(scope="module")
def own(binary: str) -> Any:
    with planegym.launch(binary=binary, workers={"pole": pole, "odd": Odd}) as server:
        yield server


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_same_as_gymnasium(own: planegym.Server, mode: AutoresetMode) -> None:
    local = SyncVectorEnv([pole] * 3, autoreset_mode=mode)
    remote = planegym.VectorEnv(own.url, "pole", 3, autoreset_mode=mode)
    obs, _ = local.reset(seed=5)
    assert np.array_equal(obs, remote.reset(seed=5)[0])
    rng = np.random.default_rng(1)
    ended = 0
    for _ in range(150):
        actions = rng.integers(0, 2, 3)
        want, got = local.step(actions), remote.step(actions)
        for a, b in zip(want[:4], got[:4], strict=True):
            assert np.array_equal(a, b)
        over = want[2] | want[3]
        ended += over.sum()
        if over.any() and mode == AutoresetMode.SAME_STEP:
            for k in np.flatnonzero(over):
                assert np.array_equal(want[4]["final_obs"][k], got[4]["final_obs"][k])
        if over.any() and mode == AutoresetMode.DISABLED:
            want, got = (v.reset(options={"reset_mask": over.copy()}) for v in (local, remote))
            assert np.array_equal(want[0], got[0])
    assert ended > 8
    local.close()
    remote.close()


def test_directly(tmp_path: Path) -> None:
    """A worker alone is a server of one scenario for planegym.make."""
    with Worker(pole, "pole", tmp_path / "s") as worker:
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
        env, local = planegym.make(worker.url, "pole"), pole()
        assert np.array_equal(env.reset(seed=3)[0], local.reset(seed=3)[0])
        want = [local.step(a) for a in (0, 1, 1)]
        obs, reward, *_ = env.step_many([0, 1, 1])
        assert np.array_equal(obs, [w[0] for w in want])
        assert reward.tolist() == [1, 1, 1]
        with pytest.raises(planegym.BadSnapshotError):
            env.get_state()
        with pytest.raises(planegym.UnknownScenarioError, match="there is 'pole'"):
            planegym.make(worker.url, "poles").reset()
        with pytest.raises(FileExistsError, match="another worker"):
            Worker(pole, "pole", tmp_path / "s")
        env.close()
    assert not (tmp_path / "s").exists()


def test_flattened(own: planegym.Server) -> None:
    """Spaces, infos, step seconds; Odd steps as it does alone."""
    env = planegym.make(own.url, "odd")
    assert env.observation_space.shape == (5,)
    assert env.action_space.nvec.tolist() == [2, 4]
    assert env.made["step_seconds"] == 4
    local = Odd()
    want, _ = local.reset(seed=9)
    obs, info = env.reset(seed=9)
    assert np.array_equal(obs, spaces.flatten(local.observation_space, want))
    assert info == {"steps": 0, "last": -1}
    for k in range(1, 6):
        want, *_ = local.step(np.array([1, 12]))
        obs, reward, terminated, truncated, info = env.step([1, 2])
        assert np.array_equal(obs, spaces.flatten(local.observation_space, want))
        assert (reward, terminated, truncated) == (1.5, False, k == 5)
        assert info == {"steps": k, "last": 12}
    with pytest.raises(planegym.EpisodeOverError):
        env.step([0, 0])
    env.reset()
    with pytest.raises(planegym.InvalidActionError, match=r"4 is not in \[0, 4\)"):
        env.step([0, 4])
    env.close()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("raise", "row 0: RuntimeError: the plant is on fire"),
        ("nan", "row 0: observation obs4 is nan"),
        ("reward", "row 0: reward is inf"),
    ],
)
def test_faults(own: planegym.Server, fault: str, words: str) -> None:
    """What an environment does wrong is an error that says so; the session lives on."""
    env = planegym.make(own.url, "odd", kwargs={"fault": fault})
    env.reset(seed=1)
    env.step([0, 0])
    with pytest.raises(planegym.EnvError, match=words):
        env.step([0, 0])
    with pytest.raises(planegym.ResetRequiredError):
        env.step([0, 0])
    env.reset(seed=1)
    env.step([0, 0])
    env.close()
    with pytest.raises(planegym.InvalidConfigError, match="unexpected keyword argument 'falt'"):
        planegym.make(own.url, "odd", kwargs={"falt": 1}).reset()


def test_of_the_server(binary: str, tmp_path: Path) -> None:
    """Recordings, and a learner in Go, of an environment in Python."""
    with planegym.launch(
        binary=binary, workers={"odd": Odd}, args=["--record", str(tmp_path)]
    ) as server:
        env = planegym.make(server.url, "odd", record=True)
        for seed in (1, 2):
            env.reset(seed=seed)
            for _ in range(5):
                env.step([1, 3])
        env.close()
        with pytest.raises(planegym.UnknownScenarioError, match="workers odd"):
            planegym.make(server.url, "even").reset()
        command = [binary, "train", "--url", server.url, "--scenario", "odd"]
        command += ["--steps", "300", "--evaluate", "0", "--out", str(tmp_path / "run")]
        subprocess.run(
            [*command, "--set", "hidden=[8]"], check=True, capture_output=True, timeout=120
        )
    pytest.importorskip("pyarrow")
    read = [e for e in planegym.read_episodes(tmp_path) if e.seed in (1, 2)][:2]
    assert [e.infos["steps"].tolist() for e in read] == [[0, 1, 2, 3, 4, 5]] * 2
    assert [(e.truncated, e.cut) for e in read] == [(True, False)] * 2


def test_a_worker_that_dies(binary: str, tmp_path: Path) -> None:
    """By the command line; a session hears that its worker is gone, and the next has a new one."""
    path = tmp_path / "s"
    command = [sys.executable, "-W", "ignore", "-m", "planegym.worker", "CartPole-v1"]
    command += ["--name", "pole", "--unix", str(path)]

    def start() -> subprocess.Popen[str]:
        w = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert w.stdout is not None
        assert f"--worker pole=unix://{path}" in w.stdout.readline()
        return w

    with planegym.launch(binary=binary, args=["--worker", f"pole=unix://{path}"]) as server:
        with pytest.raises(planegym.PlanegymError, match="worker of pole"):
            planegym.make(server.url, "pole").reset()
        worker = start()
        env = planegym.make(server.url, "pole")
        env.reset(seed=1)
        env.step(0)
        worker.kill()
        worker.communicate()
        with pytest.raises(planegym.EnvError):
            env.step(0)
        worker = start()
        again = planegym.make(server.url, "pole")
        again.reset(seed=1)
        again.step(0)
        again.close()
        env.close()
        worker.terminate()
        worker.communicate()
    with pytest.raises(planegym.LaunchError, match="want NAME=unix"):
        planegym.launch(binary=binary, args=["--worker", "pole"])
    with pytest.raises(planegym.LaunchError, match="comes with planegym"):
        planegym.launch(binary=binary, args=["--worker", "synthetic=unix:///x"])


def test_what_cannot_be_served(own: planegym.Server) -> None:
    class Wide(Odd):
        action_space = spaces.Box(-1, 1, (1,))

    with (
        Worker(Wide, "wide") as worker,
        pytest.raises(planegym.InvalidConfigError, match="cut a Box into steps"),
    ):
        planegym.make(worker.url, "wide").reset()
    assert _find("planegym.worker:Worker") is Worker


def test_closes_while_clients_come(tmp_path: Path) -> None:
    """A worker that closes while a client connects ends that session too, and joins its threads."""
    for k in range(30):
        worker = Worker(pole, "pole", tmp_path / f"c{k}").start()
        socks = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(8)]

        def connect(socks: list[socket.socket] = socks, to: str = str(tmp_path / f"c{k}")) -> None:
            for s in socks:
                with contextlib.suppress(OSError):
                    s.connect(to)

        comes = threading.Thread(target=connect)
        comes.start()
        worker.close()
        comes.join()
        assert not worker._threads
        for s in socks:
            s.close()


def measure() -> None:
    """Microseconds of a step of CartPole: in process, of a worker, through a server."""
    with Worker(pole, "pole") as worker, planegym.launch(workers={"pole": pole}) as server:
        for name, env in (
            ("in process", pole()),
            ("of a worker", planegym.make(worker.url, "pole")),
            ("through planegym serve", planegym.make(server.url, "pole")),
        ):
            env.reset(seed=1)
            took = []
            for _ in range(3000):
                began = time.perf_counter()
                over = any(env.step(0)[2:4])
                took.append(time.perf_counter() - began)
                if over:
                    env.reset()
            print(f"{name}: {1e6 * float(np.median(took)):.0f} µs a step, the median of 3000")
            env.close()


if __name__ == "__main__":
    measure()
