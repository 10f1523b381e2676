"""ActionMask: the rule by hand, what it refuses, and MaskablePPO where it is installed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import planegym
from planegym.masks import Rule


@pytest.mark.parametrize(
    ("rule", "force", "want"),
    [
        (Rule(), 64, [1, 1, 1, 1]),
        (Rule(max_change=1), 32, [1, 1, 0, 0]),
        (Rule(max_change=1), 64, [1, 1, 1, 0]),
        (Rule(max_change=0), 128, [0, 0, 1, 0]),
        (Rule(max_change=3), 32, [1, 1, 1, 1]),
        (Rule(least=64), 32, [0, 1, 1, 1]),
        (Rule(most=128), 32, [1, 1, 1, 0]),
        (Rule(max_change=1, most=64), 256, [1, 1, 0, 0]),
        (Rule(max_change=0, most=64), 256, [0, 1, 0, 0]),  # back by the nearest that is allowed
    ],
)
def test_rule(rule: Rule, force: int, want: list[int]) -> None:
    limits = np.array([32.0, 64, 128, 256])
    (mask,) = rule.masks(limits, {"limit1": np.float32(force)}, [4])
    assert mask.astype(int).tolist() == want


def test_rule_of_limits_in_another_order() -> None:
    """max_change counts places in the order of the limits, not of the actions."""
    (mask,) = Rule(max_change=1).masks(np.array([128.0, 32, 64]), {"limit1": 32}, [3])
    assert mask.tolist() == [False, True, True]


@pytest.mark.parametrize("scenario", ["synthetic", "per-switch"])
def test_env(url: str, scenario: str) -> None:
    env = planegym.ActionMask(planegym.make(url, scenario), max_change=1)
    _, info = env.reset(seed=1, options={"initial_limit": 32} if scenario == "contended" else None)
    switches = 1 if scenario == "synthetic" else 3
    assert env.action_masks().shape == (3 * switches,)
    limits = env.unwrapped.made["limits"]
    env.action_space.seed(1)
    for _ in range(20):
        for s in range(switches):
            at = limits.index(int(info[f"limit{s + 1}"]))
            want = [abs(a - at) <= 1 for a in range(3)]
            assert env.action_masks()[3 * s : 3 * s + 3].tolist() == want
        action = env.action_space.sample(mask=info["action_mask"])
        _, _, _, _, info = env.step(action)
    while any(info[f"limit{s + 1}"] != limits[0] for s in range(switches)):
        at = [limits.index(int(info[f"limit{s + 1}"])) for s in range(switches)]
        down = [max(0, i - 1) for i in at]
        _, _, _, _, info = env.step(down[0] if switches == 1 else down)
    before = env.get_wrapper_attr("get_state")()
    with pytest.raises(planegym.InvalidActionError, match=r"action 2 of switch 1 is masked"):
        env.step(2 if switches == 1 else [2, 0, 0])
    assert env.get_wrapper_attr("get_state")() == before
    env.close()


def test_what_has_no_limits(url: str) -> None:
    with pytest.raises(ValueError, match="sets no queue limits"):
        planegym.ActionMask(planegym.make(url, "cartpole"), max_change=1)
    with pytest.raises(ValueError, match=r"no limit of scenario 'synthetic' .* \[32, 64, 128\]"):
        planegym.ActionMask(planegym.make(url, "synthetic"), least=1000)
    with pytest.raises(ValueError, match="max_change: -1"):
        Rule(max_change=-1)


@pytest.mark.filterwarnings("ignore")
def test_maskable_ppo(url: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        contrib = pytest.importorskip("sb3_contrib", exc_type=ImportError)
    kwargs = {"env": {"max_steps": 50}}
    env = planegym.ActionMask(planegym.make(url, "per-switch", kwargs=kwargs), max_change=1)
    model = contrib.MaskablePPO("MlpPolicy", env, n_steps=64, batch_size=64, device="cpu")
    model.learn(256)  # a masked action would raise
    env.close()
