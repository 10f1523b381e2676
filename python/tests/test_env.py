"""planegym.Env against a real server, beside Gymnasium's own CartPole-v1."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import planegym


@pytest.fixture
def env(url: str) -> Any:
    e = planegym.make(url, "cartpole")
    yield e
    e.close()


def drawn(check: Callable[[], None]) -> list[str]:
    """The warnings that a check draws."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        check()
    return [str(w.message) for w in seen]


def test_check_env(env: planegym.Env) -> None:
    """No warning but those that Gymnasium's own CartPole-v1 draws for its
    infinite bounds, which are the same here."""
    ours = drawn(lambda: check_env(env, skip_render_check=True))
    own = gymnasium.make("CartPole-v1").unwrapped
    assert ours == drawn(lambda: check_env(own, skip_render_check=True))
    assert env.observation_space == own.observation_space
    assert env.action_space == own.action_space


def test_made_by_gymnasium(url: str) -> None:
    env = gymnasium.make("planegym/CartPole-v0", url=url)
    check = drawn(lambda: check_env(env.unwrapped, skip_render_check=True))
    assert all("infinity" in w for w in check)
    obs, _ = env.reset(seed=4)
    own, _ = gymnasium.make("CartPole-v1").reset(seed=4)
    assert np.array_equal(obs, own)
    env.close()
    vector = gymnasium.make_vec(
        "planegym/CartPole-v0", 3, vectorization_mode="vector_entry_point", url=url
    )
    assert vector.reset(seed=1)[0].shape == (3, 4)
    vector.close()


def test_bit_identical(env: planegym.Env) -> None:
    own = gymnasium.make("CartPole-v1")
    rng = np.random.default_rng(1)
    for seed in (0, 7, 2**63, None, None, 2**64 - 1, 123):
        a, b = own.reset(seed=seed), env.reset(seed=seed)
        assert np.array_equal(a[0], b[0])
        over = False
        while not over:
            action = rng.integers(2)
            a, b = own.step(action), env.step(action)
            assert np.array_equal(a[0], b[0])
            assert a[1:] == b[1:]
            assert [type(v) for v in b[1:]] == [float, bool, bool, dict]
            assert b[0].dtype == np.float32
            over = a[2] or a[3]


def test_truncation(env: planegym.Env) -> None:
    """500 steps, balanced by hand."""
    obs, _ = env.reset(seed=1)
    for i in range(500):
        obs, _, terminated, truncated, _ = env.step(int(obs[2] + 0.5 * obs[3] + 0.1 * obs[1] > 0))
        assert not terminated
        assert truncated is (i == 499)


def test_unseeded_is_random(url: str) -> None:
    """Two environments without a seed differ, as Gymnasium's do; the
    generator that drew can be asked for."""
    a, b = planegym.make(url, "cartpole"), planegym.make(url, "cartpole")
    assert not np.array_equal(a.reset()[0], b.reset()[0])
    assert not np.array_equal(a.reset()[0], a.reset()[0])
    a.close()
    b.close()


def test_results_are_the_callers(env: planegym.Env) -> None:
    first, _ = env.reset(seed=1)
    kept = first.copy()
    second = env.step(0)[0]
    second[:] = 9
    env.step(1)
    assert np.array_equal(first, kept)
    assert (second == 9).all()


@pytest.mark.parametrize("action", [0.5, float("nan"), float("inf"), None, "1", [1, 0], []])
def test_action_of_a_wrong_type(env: planegym.Env, action: object) -> None:
    env.reset(seed=1)
    with pytest.raises(planegym.InvalidActionError, match="not an integer"):
        env.step(action)


@pytest.mark.parametrize("action", [1, 1.0, np.float32(1), [1], np.array([1]), np.array([[1.0]])])
def test_action_of_a_fitting_type(env: planegym.Env, action: object) -> None:
    """An exact number, or one in an array, is the action that it is."""
    own = gymnasium.make("CartPole-v1")
    own.reset(seed=1)
    env.reset(seed=1)
    assert np.array_equal(env.step(action)[0], own.step(1)[0])


@pytest.mark.parametrize("action", [-1, 2, 2**31, -(2**31), 2**64])
def test_action_out_of_space(env: planegym.Env, action: int) -> None:
    """It is refused, nothing steps, and the next step is as if nothing happened."""
    own = gymnasium.make("CartPole-v1")
    own.reset(seed=1)
    env.reset(seed=1)
    with pytest.raises(planegym.InvalidActionError, match=str(action)[:4]):
        env.step(action)
    with pytest.raises(ValueError, match=r"step again"):
        env.step(action)
    for a in (0, np.int64(1), np.uint8(1), np.array(0), True):
        assert np.array_equal(own.step(int(a))[0], env.step(a)[0])


def test_step_before_reset(url: str) -> None:
    env = planegym.make(url, "cartpole")
    with pytest.raises(planegym.ResetRequiredError, match=r"reset\(\)"):
        env.step(0)
    assert env.action_space.n == 2  # connects, but resets nothing
    with pytest.raises(planegym.ResetRequiredError, match=r"reset\(\)"):
        env.step(0)
    env.reset()
    env.step(0)
    env.close()


def test_step_after_the_end(env: planegym.Env) -> None:
    env.reset(seed=1)
    while not env.step(0)[2]:
        pass
    with pytest.raises(planegym.EpisodeOverError, match=r"reset\(\)"):
        env.step(0)
    env.reset()
    env.step(0)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5])
def test_bad_seed(env: planegym.Env, seed: Any) -> None:
    env.reset(seed=1)
    with pytest.raises((ValueError, TypeError, gymnasium.error.Error)):
        env.reset(seed=seed)
    env.reset(seed=1)


def test_options_are_refused(env: planegym.Env) -> None:
    env.reset(options={})
    with pytest.raises(ValueError, match="low"):
        env.reset(options={"low": 1})


def test_unknown_scenario(url: str) -> None:
    with pytest.raises(planegym.UnknownScenarioError, match="carpole") as e:
        planegym.make(url, "carpole").reset()
    assert e.value.code == "unknown_scenario"
    assert "scenario list" in str(e.value)


def test_unknown_argument() -> None:
    with pytest.raises(TypeError, match=r"'speed'.*kwargs"):
        planegym.make(speed=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("bad", [{"timeout": 0}, {"timeout": -1}, {"reconnect": -1}])
def test_bad_option(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        planegym.make(**bad)


def test_close(url: str) -> None:
    env = planegym.make(url, "cartpole")
    env.close()
    env = planegym.make(url, "cartpole")
    env.reset()
    env.close()
    env.close()
    for call in (env.reset, lambda: env.step(0)):
        with pytest.raises(planegym.ClosedError, match="new one"):
            call()


def test_state(env: planegym.Env) -> None:
    """What follows set_state is what followed get_state."""
    env.reset(seed=3)
    env.step(1)
    state = env.get_state()
    first = [env.step(i % 2)[0] for i in range(9)] + [env.reset()[0]]
    env.set_state(state)
    again = [env.step(i % 2)[0] for i in range(9)] + [env.reset()[0]]
    assert np.array_equal(first, again)
    with pytest.raises(planegym.BadSnapshotError, match="get_state"):
        env.set_state(state[:-1])
    env.reset()


def test_step_many(env: planegym.Env) -> None:
    actions = np.random.default_rng(2).integers(0, 2, 30)
    env.reset(seed=5)
    obs, reward, terminated, truncated, _ = env.step_many(actions)
    steps = len(obs)
    assert steps < 30  # the episode ended, and so did the reply
    assert terminated.tolist() == [False] * (steps - 1) + [True]
    assert not truncated.any()
    env.reset(seed=5)
    for i in range(steps):
        o, r, te, tr, _ = env.step(actions[i])
        assert np.array_equal(o, obs[i])
        assert (r, te, tr) == (reward[i], terminated[i], truncated[i])


@pytest.mark.parametrize("connected", [False, True])
def test_copies_connect_on_their_own(url: str, connected: bool) -> None:
    env = planegym.make(url, "cartpole")
    if connected:
        env.reset(seed=1)
        env.step(0)
    for other in (pickle.loads(pickle.dumps(env)), copy.deepcopy(env)):
        a = other.reset(seed=2)[0]
        b = env.reset(seed=2)[0]
        assert np.array_equal(a, b)
        assert np.array_equal(env.step(1)[0], other.step(1)[0])
        with pytest.raises(planegym.ResetRequiredError):
            pickle.loads(pickle.dumps(other)).step(0)
        other.close()
    env.close()


def fork(work: Callable[[], None]) -> None:
    """Run work in a fork and fail with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads; Python 3.12
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException as e:
            print("in the fork:", repr(e), file=sys.stderr)
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork(env: planegym.Env) -> None:
    """A child cannot spoil the connection of its parent: its reset connects
    anew, and neither its close nor its end ends the parent's episode."""
    own = gymnasium.make("CartPole-v1")
    own.reset(seed=1)
    env.reset(seed=1)
    for a in (0, 1):
        assert np.array_equal(own.step(a)[0], env.step(a)[0])

    def child() -> None:
        with pytest.raises(planegym.ResetRequiredError):
            env.step(0)
        other = gymnasium.make("CartPole-v1")
        assert np.array_equal(other.reset(seed=9)[0], env.reset(seed=9)[0])
        assert np.array_equal(other.step(0)[0], env.step(0)[0])
        env.close()

    fork(child)
    fork(env.close)
    fork(lambda: None)
    for a in (0, 1, 1):
        assert np.array_equal(own.step(a)[0], env.step(a)[0])


def _remote(url: str) -> planegym.Env:
    return planegym.make(url, "cartpole")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes(url: str, method: str) -> None:
    """Gymnasium's own AsyncVectorEnv over remote environments."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both = gymnasium.vector.AsyncVectorEnv([partial(_remote, url)] * 2, context=method)
        obs, _ = both.reset(seed=3)
        both.step(np.array([0, 1]))
        both.close()
    own = gymnasium.make("CartPole-v1")
    assert np.array_equal(obs, [own.reset(seed=3)[0], own.reset(seed=4)[0]])


def test_forgotten_environments_are_closed(url: str) -> None:
    """At exit nothing hangs, and nothing is printed."""
    code = (
        f"import planegym; e = planegym.make({url!r}, 'cartpole'); e.reset(seed=1)\n"
        f"v = planegym.VectorEnv({url!r}, 'cartpole', 4); v.reset(seed=1)\n"
        f"del v; print('end')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.stdout, done.stderr, done.returncode) == ("end\n", "", 0)


def test_environment_variables(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANEGYM_URL", url)
    monkeypatch.setenv("PLANEGYM_TOKEN", "not needed")
    env = planegym.make(scenario="cartpole")
    env.reset()
    assert "not needed" not in repr(env._remote.config)
    env.close()
