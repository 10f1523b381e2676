"""planegym.sb3.VecEnv beside Stable-Baselines3's own DummyVecEnv."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest

import planegym

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's and matplotlib's own
    pytest.importorskip("torch", exc_type=ImportError)
    sb3 = pytest.importorskip("stable_baselines3", exc_type=ImportError)
    from stable_baselines3.common.env_checker import check_env
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

    from planegym.sb3 import VecEnv

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def vec(url: str) -> Any:
    v = VecEnv(url, "cartpole", 5)
    yield v
    v.close()


def test_check_env(url: str) -> None:
    """Without a warning; pytest makes errors of them."""
    env = planegym.make(url, "cartpole")
    check_env(env, warn=True)
    env.close()


def test_same_as_dummy(vec: Any) -> None:
    own = DummyVecEnv([lambda: gymnasium.make("CartPole-v1")] * 5)
    own.seed(3)
    vec.seed(3)
    assert np.array_equal(own.reset(), vec.reset())
    rng = np.random.default_rng(1)
    ends = 0
    for _ in range(500):
        actions = rng.integers(0, 2, 5)
        a, b = own.step(actions), vec.step(actions)
        for x, y in zip(a[:3], b[:3], strict=True):
            assert x.dtype == y.dtype
            assert np.array_equal(x, y)
        for x, y in zip(a[3], b[3], strict=True):
            assert x.keys() == y.keys()
            assert x["TimeLimit.truncated"] is y["TimeLimit.truncated"]
            if "terminal_observation" in x:
                assert np.array_equal(x["terminal_observation"], y["terminal_observation"])
        ends += a[2].sum()
    assert ends > 50
    assert np.array_equal(own.reset(), vec.reset())


def test_truncated(vec: Any) -> None:
    """Balanced for 500 steps, an episode is truncated, not terminated."""
    vec.seed(1)
    obs = vec.reset()
    for i in range(500):
        actions = (obs[:, 2] + 0.5 * obs[:, 3] + 0.1 * obs[:, 1] > 0).astype(int)
        obs, _, dones, infos = vec.step(actions)
        assert dones.tolist() == [i == 499] * 5
    assert [x["TimeLimit.truncated"] for x in infos] == [True] * 5
    assert all(np.abs(x["terminal_observation"]).max() > 0 for x in infos)


def test_the_rest_of_the_interface(vec: Any) -> None:
    assert vec.get_attr("render_mode") == [None] * 5
    assert vec.get_attr("num_envs", indices=[1, 2]) == [5, 5]
    assert vec.env_is_wrapped(gymnasium.Wrapper) == [False] * 5
    assert vec.get_images() == [None] * 5
    vec.set_attr("x", 1)
    vec.set_attr("x", 2, indices=[4])
    assert vec.get_attr("x") == [1, 1, 1, 1, 2]
    with pytest.raises(AttributeError, match="cannot be set"):
        vec.set_attr("num_envs", 1)
    vec.reset()
    state = vec.env_method("get_state", indices=[3])
    vec.env_method("set_state", state, indices=[0])
    with pytest.raises(AttributeError, match="not an attribute of a row"):
        vec.env_method("step_wait")
    with pytest.raises(AttributeError):
        vec.get_attr("no_such")


@pytest.mark.parametrize("name", ["PPO", "A2C", "DQN"])
def test_learns_a_little(url: str, name: str) -> None:
    """Some updates through the usual wrappers, and saving in between."""
    vec = VecNormalize(VecMonitor(VecEnv(url, "cartpole", 4)))
    options = {"learning_starts": 50} if name == "DQN" else {"n_steps": 32}
    model = getattr(sb3, name)("MlpPolicy", vec, seed=1, device="cpu", **options)
    model.learn(400)
    assert len(model.ep_info_buffer) > 2
    single = planegym.make(url, "cartpole")
    mean, _ = evaluate_policy(model, VecMonitor(VecEnv(url, "cartpole", 1)), n_eval_episodes=2)
    assert mean > 5
    single.close()
    vec.close()


def test_same_learning_as_in_process(url: str) -> None:
    """PPO on the socket and PPO in process end with the same weights."""
    remote = VecEnv(url, "cartpole", 4)
    local = DummyVecEnv([lambda: gymnasium.make("CartPole-v1")] * 4)
    ends = []
    for env in (remote, local):
        model = sb3.PPO("MlpPolicy", env, n_steps=64, batch_size=64, seed=7, device="cpu")
        model.learn(1024)
        ends.append(model.get_parameters()["policy"])
        env.close()
    for key, value in ends[0].items():
        assert np.array_equal(value.numpy(), ends[1][key].numpy()), key


def test_ppo_reaches_500(url: str) -> None:
    """The whole of CartPole, learned through the socket."""
    vec = VecMonitor(VecEnv(url, "cartpole", 8))
    model = sb3.PPO(
        "MlpPolicy",
        vec,
        n_steps=32,
        batch_size=256,
        n_epochs=20,
        gamma=0.98,
        gae_lambda=0.8,
        learning_rate=lambda left: 1e-3 * left,
        clip_range=lambda left: 0.2 * left,
        seed=1,
        device="cpu",
    )
    model.learn(40_000)
    judge = VecMonitor(VecEnv(url, "cartpole", 10))
    judge.seed(1_000)
    mean, spread = evaluate_policy(model, judge, n_eval_episodes=20)
    judge.close()
    vec.close()
    assert mean >= 475, f"{mean} ± {spread}"  # at which CartPole-v1 counts as solved
