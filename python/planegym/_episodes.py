"""Recorded episodes (serve --record, play --record) as arrays; needs pyarrow."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
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
        terminations, truncations: bool [T]. An episode that was cut is truncated, too.
        model_hash: of the environment's model; "" without one.
        infos: f32 [T+1] by name, beside the observations; NaN where a value is not
            known. Empty in files of planegym 0.1 before recordings kept them.
        cut: the recording ended the episode, not the environment: it was reset or
            closed, its client left, or the server stopped. Of a file that does not
            say, False.
        elements: names of the D elements of an observation.
        choices: actions of each of the S switches, such as (3,).
        limits: queue limits by action, packets; () where there are none.
    """

    scenario: str
    seed: int
    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminations: np.ndarray
    truncations: np.ndarray
    model_hash: str
    infos: dict[str, np.ndarray] = field(default_factory=dict)
    cut: bool = False
    elements: tuple[str, ...] = ()
    choices: tuple[int, ...] = ()
    limits: tuple[int, ...] = ()

    @property
    def terminated(self) -> bool:
        """Whether the environment terminated it."""
        return bool(self.terminations[-1])

    @property
    def truncated(self) -> bool:
        """Whether the environment truncated it; see cut."""
        return bool(self.truncations[-1]) and not self.cut


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
        raise ValueError(f"{file}: is not a Parquet file: {e}") from e
    missing = [c for c in _COLUMNS if c not in table.column_names]
    if missing:
        raise ValueError(
            f"{file}: holds no recorded episodes: the column {missing[0]!r} is missing"
        )
    about = _about(table.schema.metadata or {}, file)
    number = table["episode"].to_numpy()
    starts = np.flatnonzero(np.diff(number, prepend=-1)).tolist()
    return [
        _episode(table.slice(start, end - start), file, about)
        for start, end in zip(starts, [*starts[1:], len(number)], strict=True)
    ]


@dataclass(frozen=True)
class _About:
    """What a file's metadata says."""

    elements: tuple[str, ...] = ()
    choices: tuple[int, ...] = ()
    limits: tuple[int, ...] = ()
    infos: tuple[str, ...] = ()


def _about(metadata: dict[bytes, bytes], file: Path) -> _About:
    try:
        spaces = json.loads(metadata.get(b"planegym.episodes.v1", b"{}"))
        infos = json.loads(metadata.get(b"planegym.infos.v1", b"[]"))
        return _About(
            elements=tuple(e["Name"] for e in spaces.get("elements") or ()),
            choices=tuple(spaces.get("actions") or ()),
            limits=tuple(spaces.get("limits") or ()),
            infos=tuple(f["Name"] for f in infos),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise ValueError(f"{file}: its metadata cannot be read: {e}") from e


def _episode(rows: Any, file: Path, about: _About) -> Episode:
    """Of its rows: one a step, and one more with the last observation and no action."""
    actions = rows["action"].to_pylist()[:-1]
    names = rows.column_names
    try:
        obs = np.array(rows["obs"].to_pylist(), np.float32)
        chosen = np.array(actions, np.int32).reshape(len(actions), -1)
        info = np.zeros((len(obs), 0), np.float32)
        if about.infos:
            info = np.array(rows["info"].to_pylist(), np.float32).reshape(len(obs), -1)
    except (ValueError, KeyError) as e:
        raise ValueError(f"{file}: episode {rows['episode'][0]}: rows of several lengths") from e
    if info.shape[1] != len(about.infos):
        raise ValueError(
            f"{file}: episode {rows['episode'][0]}: info has {info.shape[1]} values a row, "
            f"its metadata names {len(about.infos)}"
        )
    flags = {k: rows[k].to_numpy(zero_copy_only=False)[:-1] for k in ("terminated", "truncated")}
    return Episode(
        scenario=rows["env"][0].as_py(),
        seed=rows["seed"][0].as_py(),
        observations=obs,
        actions=chosen[:, 0] if chosen.shape[1] == 1 else chosen,
        rewards=rows["reward"].to_numpy().astype(np.float32)[:-1],
        terminations=flags["terminated"].astype(np.bool_),
        truncations=flags["truncated"].astype(np.bool_),
        model_hash=rows["model_hash"][0].as_py() if "model_hash" in names else "",
        infos={name: info[:, k].copy() for k, name in enumerate(about.infos)},
        cut="cut" in names and any(rows["cut"].to_pylist()),
        elements=about.elements,
        choices=about.choices,
        limits=about.limits,
    )
