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
            episode: dict[str, Any] = {"obs": [env.reset(seed=seed)[0]], "steps": [], "actions": []}
            over = False
            while not over and (seed == 3 or len(episode["steps"]) < 4):
                action = env.action_space.sample()
                obs, *rest = env.step(action)
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
    assert read[0].truncations[-1] == (scenario != "cartpole")


def test_what_is_no_recording(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pytest.raises(FileNotFoundError, match="there is no"):
        planegym.read_episodes(tmp_path)
    (tmp_path / "a.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"a\.parquet: is no Parquet file"):
        planegym.read_episodes(tmp_path)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="the column 'env' is missing"):
        planegym.read_episodes(tmp_path)
