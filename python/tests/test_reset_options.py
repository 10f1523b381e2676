"""reset(options=…): episodes that differ from the scenario, and the infos of an
episode's last step under SAME_STEP."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import planegym


@pytest.fixture
def env(url: str) -> Any:
    e = planegym.make(url, "contended", kwargs={"testbed": {"warmup_s": 4}})
    yield e
    e.close()


def test_initial_limit(env: planegym.Env) -> None:
    for limit in (32, 128):
        _, info = env.reset(seed=1, options={"initial_limit": limit})
        assert info["limit1"] == limit
    assert env.reset(seed=1)[1]["limit1"] == 64  # of one episode alone


def test_traffic_seed(env: planegym.Env) -> None:
    """Equal traffic seeds are equal traffic, whatever the seed."""
    first = env.reset(seed=1, options={"traffic_seed": 2**64 - 1})[0]
    assert np.array_equal(env.reset(options={"traffic_seed": np.uint64(2**64 - 1)})[0], first)
    assert not np.array_equal(env.reset(options={"traffic_seed": 5})[0], first)


def test_phase_and_load(env: planegym.Env) -> None:
    """Bulk flows fill the queue and bursts leave it mostly empty; without load it is empty."""
    depth = {}
    for phase, load in (("bulk", 1), ("bursts", 1), ("bulk", 0)):
        env.reset(seed=3, options={"phase": phase, "load": load, "initial_limit": 128})
        seen = [env.step(2)[4]["enq_qdepth1"] for _ in range(10)]
        depth[phase, load] = float(np.mean(seen))
    assert depth["bulk", 1] > 2 * depth["bursts", 1] > 2 * depth["bulk", 0]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"low": 1}, ValueError, "no 'low'; known are initial_limit, load"),
        ({"initial_limit": 33}, planegym.InvalidConfigError, "initial_limit"),
        ({"load": 7}, planegym.InvalidConfigError, "load"),
        ({"phase": "night"}, planegym.InvalidConfigError, "phase"),
        ({"traffic_seed": -1}, planegym.PlanegymError, "traffic_seed"),
    ],
)
def test_refused(env: planegym.Env, options: Any, error: type[Exception], words: str) -> None:
    """Nothing is reset: the episode goes on."""
    env.reset(seed=1)
    with pytest.raises(error, match=words):
        env.reset(options=options)
    env.step(0)


def test_a_scenario_without(url: str) -> None:
    env = planegym.make(url, "cartpole")
    with pytest.raises(ValueError, match="cartpole"):
        env.reset(options={"load": 1})
    env.close()


@pytest.mark.parametrize("seed", [None, 4])
def test_rows(url: str, seed: int | None) -> None:
    """Options reach the rows of a mask; what a vector gives is what singles give."""
    env = planegym.VectorEnv(url, "synthetic", 3)
    env.reset(seed=1)
    before = env._obs.copy()
    mask = np.array([True, False, True])
    obs, info = env.reset(seed=seed, options={"reset_mask": mask, "initial_limit": 32})
    assert np.array_equal(obs[1], before[1])
    assert info["_limit1"].tolist() == mask.tolist()
    assert info["limit1"][mask].tolist() == [32, 32]
    if seed is not None:
        one = planegym.make(url, "synthetic")
        for i in (0, 2):
            want, _ = one.reset(seed=seed + i, options={"initial_limit": 32})
            assert np.array_equal(obs[i], want)
        one.close()
    env.close()


def test_final_info(url: str) -> None:
    """Under SAME_STEP info is of the new episode, and final_info of the last step of the old:
    what single environments say."""
    options: Any = {"kwargs": {"env": {"max_steps": 3}}}
    env = planegym.VectorEnv(url, "synthetic", 2, autoreset_mode="same_step", **options)
    ones = [planegym.make(url, "synthetic", **options) for _ in range(2)]
    env.reset(seed=5)
    for i, one in enumerate(ones):
        one.reset(seed=5 + i)
    for k in range(6):
        action = np.array([k % 3, 2])
        info = env.step(action)[4]
        own = [one.step(int(a))[4] for one, a in zip(ones, action, strict=True)]
        if k % 3 < 2:
            assert "final_info" not in info
            continue
        assert info["_final_info"].tolist() == [True, True]
        for i, one in enumerate(ones):
            assert {k: v[i] for k, v in info["final_info"].items() if k[0] != "_"} == own[i]
            _, first = one.reset()
            assert {k: info[k][i] for k in first} == first
    env.close()
    for one in ones:
        one.close()


def test_final_info_of_some_rows(url: str) -> None:
    """The mask says whose episode ended."""
    env = planegym.VectorEnv(
        url, "synthetic", 2, autoreset_mode="same_step", kwargs={"env": {"max_steps": 3}}
    )
    env.reset(seed=5)
    env.step(np.zeros(2, int))
    env.reset(options={"reset_mask": np.array([True, False])})
    env.step(np.zeros(2, int))
    info = env.step(np.zeros(2, int))[4]
    assert info["_final_info"].tolist() == [False, True]
    assert info["final_info"]["_lbo_s"].tolist() == [False, True]
    env.close()
