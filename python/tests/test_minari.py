"""to_minari, read back by Minari."""

from __future__ import annotations

import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import planegym

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    minari = pytest.importorskip("minari")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_to_minari(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = planegym.make(url, "cartpole")

    def policy(obs: np.ndarray) -> int:
        return int(obs[2] + 0.5 * obs[3] + 0.1 * obs[1] > 0) if episode.pop(0) else 0

    episode = [False] * 10 + [True] * 1000  # falls, then balances
    planegym.to_minari(env, "planegym/cartpole/test-v0", episodes=2, policy=policy, seed=4)
    env.close()

    dataset = minari.load_dataset("planegym/cartpole/test-v0")
    assert dataset.total_episodes == 2
    assert dataset.observation_space == env.observation_space
    for i, got in enumerate(dataset):
        own = gymnasium.make("CartPole-v1")
        obs = [own.reset(seed=4 + i)[0]]
        steps = [own.step(int(a)) for a in got.actions]
        assert np.array_equal(got.observations, obs + [s[0] for s in steps])
        assert got.rewards.tolist() == [s[1] for s in steps]
        assert got.terminations.tolist() == [s[2] for s in steps]
        assert got.truncations.tolist() == [s[3] for s in steps]
    assert got.truncations[-1] != got.terminations[-1]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("scenario", ["synthetic", "per-switch"])
def test_recording(
    binary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str
) -> None:
    """A recording as a dataset, beside what was played."""
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    recorded = tmp_path / "recorded"
    played = []
    with planegym.launch(binary=binary, args=["--record", str(recorded)]) as server:
        kwargs = {"env": {"max_steps": 5}}
        env = planegym.make(server.url, scenario, record=True, kwargs=kwargs)
        for steps in (5, 3):  # the second is cut
            obs, info = env.reset(seed=1 << 62)
            rows = [(obs, None, None, info)]
            for _ in range(steps):
                action = env.action_space.sample()
                obs, reward, _, _, info = env.step(action)
                rows.append((obs, action, reward, info))
            played.append(rows)
        env.close()
    dataset = planegym.recording_to_minari(recorded, f"planegym/{scenario}/recorded-v0")
    assert dataset.total_episodes == 2
    for got, want in zip(dataset, played, strict=True):
        assert np.array_equal(got.observations, [w[0] for w in want])
        assert np.array_equal(got.actions, [w[1] for w in want[1:]])
        assert np.array_equal(got.rewards, [w[2] for w in want[1:]])
        assert np.array_equal(got.infos["stall_s"], [w[3]["stall_s"] for w in want])
        assert got.truncations[-1]
        assert not got.terminations[-1]
    assert dataset.spec.env_spec.kwargs["scenario"] == scenario
    whole = planegym.recording_to_minari(
        planegym.read_episodes(recorded), f"planegym/{scenario}/whole-v0", cut=False
    )
    assert whole.total_episodes == 1
    with pytest.raises(ValueError, match="no episode to keep"):
        planegym.recording_to_minari([], "planegym/x/x-v0")


def test_no_episodes(url: str) -> None:
    with pytest.raises(ValueError, match="episodes: 0"):
        planegym.to_minari(planegym.make(url), "planegym/cartpole/none-v0", episodes=0)
