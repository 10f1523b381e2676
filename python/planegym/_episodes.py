"""Recorded episodes (serve --record, play --record) as arrays; needs pyarrow."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Episode:
    """One episode of T steps, in the form of Minari's.

    Attributes:
        scenario: its name.
        seed: what its row was last seeded with.
        observations: f32 [T+1,D], from the first to the last.
        actions: i32 [T], or [T,S] where each of S switches has its own.
        rewards: f32 [T].
        terminations, truncations: bool [T]. An episode that the recording cut, since
            the environment was reset or closed before its end, is truncated, too.
        model_hash: of the environment's model; "" without one.
    """

    scenario: str
    seed: int
    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminations: np.ndarray
    truncations: np.ndarray
    model_hash: str


def read_episodes(path: str | os.PathLike[str]) -> list[Episode]:
    """The episodes of a Parquet file, or of all in a folder, in their order.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a file holds no recorded episodes; the message names it.
    """
    folder = Path(path)
    files = sorted(folder.glob("*.parquet")) if folder.is_dir() else [folder]
    if not files:
        raise FileNotFoundError(f"{path}: there is no .parquet file in it")
    return [episode for file in files for episode in _read(file)]


_COLUMNS = ("env", "episode", "step", "obs", "action", "reward", "terminated", "truncated", "seed")


def _read(file: Path) -> list[Episode]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as e:
        raise ImportError("read_episodes needs pyarrow: pip install pyarrow") from e
    try:
        table: Any = pq.read_table(file)
    except pa.ArrowInvalid as e:
        raise ValueError(f"{file}: is no Parquet file: {e}") from e
    missing = [c for c in _COLUMNS if c not in table.column_names]
    if missing:
        raise ValueError(
            f"{file}: holds no recorded episodes: the column {missing[0]!r} is missing"
        )
    number = table["episode"].to_numpy()
    starts = np.flatnonzero(np.diff(number, prepend=-1)).tolist()
    return [
        _episode(table.slice(start, end - start), file)
        for start, end in zip(starts, [*starts[1:], len(number)], strict=True)
    ]


def _episode(rows: Any, file: Path) -> Episode:
    """Of its rows: one a step, and one more with the last observation and no action."""
    actions = rows["action"].to_pylist()[:-1]
    try:
        obs = np.array(rows["obs"].to_pylist(), np.float32)
        chosen = np.array(actions, np.int32).reshape(len(actions), -1)
    except ValueError as e:
        raise ValueError(f"{file}: episode {rows['episode'][0]}: rows of several lengths") from e
    flags = {k: rows[k].to_numpy(zero_copy_only=False)[:-1] for k in ("terminated", "truncated")}
    return Episode(
        scenario=rows["env"][0].as_py(),
        seed=rows["seed"][0].as_py(),
        observations=obs,
        actions=chosen[:, 0] if chosen.shape[1] == 1 else chosen,
        rewards=rows["reward"].to_numpy().astype(np.float32)[:-1],
        terminations=flags["terminated"].astype(np.bool_),
        truncations=flags["truncated"].astype(np.bool_),
        model_hash=rows["model_hash"][0].as_py() if "model_hash" in rows.column_names else "",
    )
