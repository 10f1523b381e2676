"""ParallelEnv beside planegym.Env, and PettingZoo's own tests of the API."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import planegym

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("pettingzoo")
    from pettingzoo.test import parallel_api_test, parallel_seed_test

    from planegym.pettingzoo import ParallelEnv

KWARGS = {"env": {"max_steps": 12}}


@pytest.mark.parametrize("observe", ["all", "own"])
def test_api(url: str, observe: str) -> None:
    env = ParallelEnv(url, observe=observe, kwargs=KWARGS)
    parallel_api_test(env, num_cycles=30)
    env.close()


def test_seeds(url: str) -> None:
    parallel_seed_test(lambda: ParallelEnv(url, kwargs=KWARGS), num_cycles=12)


def test_same_as_env(url: str) -> None:
    """Agents together act as the one agent of an Env does."""
    own = planegym.make(url, "per-switch", kwargs=KWARGS)
    env = ParallelEnv(url, observe="own", kwargs=KWARGS)
    want, _ = own.reset(seed=5)
    got, infos = env.reset(seed=5)
    rng = np.random.default_rng(1)
    names = [e["name"] for e in own.made["observation_space"]["elements"]]
    for k in range(12):
        assert np.array_equal(env.state(), want)
        seen: set[str] = set()
        for s, agent in enumerate(env.agents):
            elements = env.elements(agent)
            assert f"enq_qdepth{s + 1}_p95" in elements
            assert {"lbo_s", "int_age"} <= set(elements)
            assert len(elements) == 6 + 3 + 1
            assert got[agent].tolist() == [want[names.index(e)] for e in elements]
            assert env.observation_space(agent).contains(got[agent])
            assert infos[agent]["action_mask"].tolist() == [1, 1, 1]
            seen |= set(elements)
        assert seen == set(names)
        actions = rng.integers(0, 3, 3)
        want, reward, terminated, truncated, info = own.step(actions)
        got, rewards, over, cut, infos = env.step(dict(zip(env.agents, actions, strict=True)))
        assert set(rewards.values()) == {reward}
        assert set(over.values()) == {terminated}
        assert set(cut.values()) == {truncated} == {k == 11}
        assert infos["switch_2"]["limit2"] == info["limit2"]
    assert env.agents == []
    assert env.step({}) == ({}, {}, {}, {}, {})
    env.reset()
    with pytest.raises(KeyError, match="switch_3"):
        env.step({"switch_1": 0, "switch_2": 1})
    own.close()
    env.close()


def test_what_it_is_not_for(url: str) -> None:
    with pytest.raises(ValueError, match="one action for all switches"):
        ParallelEnv(url, "synthetic")
    with pytest.raises(ValueError, match="observe: 'mine'"):
        ParallelEnv(url, observe="mine")
