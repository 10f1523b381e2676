"""read_episodes gives back what was played while the server recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import planegym

pytest.importorskip("pyarrow")


@pytest.mark.parametrize("scenario", ["synthetic", "per-switch", "cartpole"])
def test_round_trip(binary: str, tmp_path: Path, scenario: str) -> None:
    played: list[dict[str, Any]] = []
    kwargs = {} if scenario == "cartpole" else {"env": {"max_steps": 6}}
    with planegym.launch(binary=binary, args=["--record", str(tmp_path)]) as server:
        env = planegym.make(server.url, scenario, record=True, kwargs=kwargs)
        for seed in (3, 4):
            obs, info = env.reset(seed=seed)
            episode: dict[str, Any] = {"obs": [obs], "infos": [info], "steps": [], "actions": []}
            over = False
            while not over and (seed == 3 or len(episode["steps"]) < 4):
                action = env.action_space.sample()
                obs, *rest = env.step(action)
                episode["infos"].append(rest[3])
                episode["obs"].append(obs)
                episode["actions"].append(action)
                episode["steps"].append(rest[:3])
                over = bool(rest[1] or rest[2])
            played.append(episode)
        env.close()
    read = planegym.read_episodes(tmp_path)
    assert [e.seed for e in read] == [3, 4]
    played[1]["steps"][-1] = [*played[1]["steps"][-1][:2], True]  # the recording cut it
    for got, want in zip(read, played, strict=True):
        assert got.scenario == scenario
        assert np.array_equal(got.observations, want["obs"])
        assert np.array_equal(got.actions, want["actions"])
        for k, name in enumerate(("rewards", "terminations", "truncations")):
            assert np.array_equal(getattr(got, name), [s[k] for s in want["steps"]])
        assert got.infos.keys() == want["infos"][0].keys()
        for name, values in got.infos.items():
            assert values.dtype == np.float32
            assert np.array_equal(values, [i[name] for i in want["infos"]])
        assert len(got.elements) == got.observations.shape[1]
    assert (read[0].cut, read[1].cut) == (False, True)
    assert (read[0].truncated, read[1].truncated) == (scenario != "cartpole", False)
    assert ("lbo_s" in read[0].infos) == (scenario != "cartpole")


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_infos_of_a_batch(binary: str, tmp_path: Path, mode: str) -> None:
    """The infos of an episode's last observation are its own, whatever the reset mode, and
    a server that stops cuts the episodes of those who are there."""
    seen: list[list[dict[str, np.ndarray]]] = [[], []]  # by row
    with planegym.launch(
        binary=binary, args=["--record", str(tmp_path), "--resume", "1s"]
    ) as server:
        env = planegym.VectorEnv(
            server.url, "synthetic", 2, autoreset_mode=mode, record=True, info=True,
            kwargs={"env": {"max_steps": 4}},
        )  # fmt: skip
        _, info = env.reset(seed=[3, 4])
        for row in range(2):
            seen[row].append({k: v[row] for k, v in info.items() if not k.startswith("_")})
        for i in range(4):
            _, _, _, over, info = env.step(env.action_space.sample())
            assert over.all() == (i == 3)
            last = info.get("final_info", info) if i == 3 else info
            for row in range(2):
                seen[row].append({k: v[row] for k, v in last.items() if k in seen[row][0]})
        if mode == "disabled":
            env.reset(options={"reset_mask": np.ones(2, np.bool_)})
        for _ in range(3):
            env.step(env.action_space.sample())
    env.close()
    episodes = planegym.read_episodes(tmp_path)
    assert [e.cut for e in episodes] == [False, False, True, True]
    assert [e.truncated for e in episodes] == [True, True, False, False]
    for e, want in zip(episodes, seen, strict=False):
        assert set(e.infos) == set(want[0])
        for name, values in e.infos.items():
            assert np.array_equal(values, [w[name] for w in want]), name


FIRST = Path(__file__).resolve().parents[2] / "env/episodes/testdata/first.parquet"


@pytest.mark.skipif(not FIRST.exists(), reason="the file is in the repository")
def test_a_file_of_the_first_release() -> None:
    one, two = planegym.read_episodes(FIRST)
    assert one.observations.tolist() == [[1, 2], [3, 2], [4, 5]]
    assert (one.terminated, one.cut, one.infos) == (True, False, {})
    assert (two.seed, two.actions.tolist()) == (2**64 - 1, [0, 1])
    assert (two.terminated, two.truncated, two.cut) == (False, True, False)
    assert (two.elements, two.choices, two.limits) == (("lbo_s", "age"), (2,), (32, 64))


def test_what_is_no_recording(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pytest.raises(FileNotFoundError, match="there is no"):
        planegym.read_episodes(tmp_path)
    (tmp_path / "a.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"a\.parquet: is not a Parquet file"):
        planegym.read_episodes(tmp_path)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="the column 'env' is missing"):
        planegym.read_episodes(tmp_path)
