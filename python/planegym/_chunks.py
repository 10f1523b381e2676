"""A trace learnt chunk by chunk on a Ray cluster, as NetShare scales: a model of the
first chunk, the others begun with it in parallel, and their samples as one file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray

from ._command import Config, KilledError, flags, rows
from ._launch import find_binary

Path_ = str | os.PathLike[str]


def traffic_fit_chunks(
    data: Path_,
    folder: Path_,
    *,
    chunks: int = 10,
    mode: str = "doppelganger",
    tune: Config | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0,
    progress: Callable[[dict[str, Any]], None] | None = None,
    binary: str | None = None,
    **options: Any,
) -> list[Path]:
    """`planegym traffic fit --chunk K/N` as tasks of a Ray cluster: the first chunk, then
    the others in parallel, each begun with the first one's model.

    A chunk's model learns the sessions that start in it, whole. A task whose process or
    node dies is run again from its last checkpoint. Called again, the function does what
    the folder lacks; equal arguments give equal bytes, those of the commands one after
    another, on equal processors (or with kernels="avx2").

    Args:
        data: Parquet of sessions, as `planegym traffic convert` writes it, on this machine.
        folder: of the models, on this machine; made where it is missing.
        chunks: equal times that the trace is cut into, 64 at most.
        mode: "doppelganger" or "doppelganger-likelihood".
        tune: settings (--set) of the chunks behind the first; default: those of the first,
            with a quarter of its updates.
        num_cpus, num_gpus: of a task.
        progress: called here with the last row of each chunk's progress, about once a second:
            chunk, phase, done, total, losses; default: a line on a terminal.
        binary: planegym on the nodes; default: what find_binary finds there.
        options: more flags of traffic fit, as in train: seed=1, set={"updates": 2000}, which
            is of the first chunk and what the others take over, every=200, kernels="avx2".

    Returns:
        The models in the order of their chunks, without those in which no session starts.

    Raises:
        ValueError: the data or the settings are wrong, or the folder is of another call.
        RuntimeError: a chunk could not be learnt; the message names it.
    """
    data, folder = Path(data), Path(folder)
    if chunks < 2:
        raise ValueError(f"chunks: {chunks}; 1 is a fit of the whole trace: planegym traffic fit")
    shares = _shares(data, chunks, binary or find_binary())
    folder.mkdir(parents=True, exist_ok=True)
    content = data.read_bytes()
    call = {"data_sha256": hashlib.sha256(content).hexdigest(), "chunks": chunks, "mode": mode,
            "tune": dict(tune or {}), "options": options}  # fmt: skip
    _same_call(folder / "chunks.json", json.loads(json.dumps(call, default=str)))

    given = {"threads": max(1, int(num_cpus)), **options}
    later = {k: v for k, v in given.items() if k != "set"} | {"set": dict(tune or {})}
    again = flags({k: v for k, v in given.items() if k not in ("set", "mode")})
    first, *others = [s["chunk"] for s in shares if s["sessions"]]
    files = {k: folder / f"chunk-{k:02}-of-{chunks}.safetensors" for k in [first, *others]}
    partial = {k: f.read_bytes() for k, f in files.items() if f.exists() and not _done(f)}
    desk: Any = ray.remote(_Desk).options(num_cpus=0).remote(partial)
    task: Any = ray.remote(_fit_chunk).options(
        num_cpus=num_cpus, num_gpus=num_gpus, max_retries=3, retry_exceptions=[KilledError]
    )
    trace = ray.put(content)
    waiting: dict[Any, int] = {}
    say = progress or _line

    def start(k: int, args: list[str], parent: Any = None) -> None:
        ref = task.remote(args, again, k, chunks, data.name, trace, parent, desk, binary)
        waiting[ref] = k

    def start_others() -> None:
        parent = ray.put(files[first].read_bytes())
        for k in others:
            if not (files[k].exists() and _done(files[k])):
                start(k, flags(later), parent)

    try:
        if files[first].exists() and _done(files[first]):
            start_others()
        else:
            start(first, ["--mode", mode, *flags(given)])
        while waiting:
            ready, _ = ray.wait(list(waiting), timeout=1)
            checkpoints, said = ray.get(desk.take.remote())
            for k, b in checkpoints.items():
                _write(files[k], b)
            for row in said:
                say(row)
            for ref in ready:
                k = waiting.pop(ref)
                _write(files[k], _result(ref, k, chunks))
                if k == first:
                    start_others()
    finally:
        for ref in waiting:
            ray.cancel(ref)
        with contextlib.suppress(Exception):
            for k, b in ray.get(desk.take.remote(), timeout=5)[0].items():
                if not (files[k].exists() and _done(files[k])):
                    _write(files[k], b)
        ray.kill(desk)
        if say is _line and sys.stderr.isatty():
            print(file=sys.stderr)
    return list(files.values())


def traffic_sample_chunks(
    models: Sequence[Path_],
    n: int | None = None,
    *,
    output: Path_,
    seed: int = 0,
    num_cpus: float = 1,
    binary: str | None = None,
    **options: Any,
) -> Path:
    """Sessions of the models of a trace's chunks, sampled in parallel on a Ray cluster, as
    one file in the order of their starts.

    Args:
        models: files that traffic_fit_chunks gave, of one call.
        n: sessions, split as training's are; default: as many as training has, which start
            in their chunks. Of fewer, each chunk has the first; more go on with the chunks of a
            next trace.
        output: file to write, on this machine: .parquet or .csv.
        seed: picks the sessions.
        num_cpus: of a task; one samples a chunk.
        binary: planegym on the nodes; default: what find_binary finds there.
        options: more flags of `planegym traffic sample`, as in train: max_steps=100.

    Returns:
        output.

    Raises:
        ValueError: the models are not those of one trace's chunks, or output is wrong.
        RuntimeError: a chunk could not be sampled; the message names it.
    """
    output = Path(output)
    if output.suffix not in (".parquet", ".csv"):
        raise ValueError(f"output: {str(output)!r} ends in neither .parquet nor .csv")
    about = [_chunk_of(Path(m)) for m in models]
    if not about:
        raise ValueError("models: there is none")
    of = about[0][1]
    seen: dict[int, Path_] = {}
    for m, (k, chunks, _) in zip(models, about, strict=True):
        if chunks != of:
            raise ValueError(f"{m}: chunk {k} of {chunks}, but {models[0]} is of {of} chunks")
        if k in seen:
            raise ValueError(f"{m}: chunk {k} of {of}, as {seen[k]}")
        seen[k] = m
    counts = [sessions for _, _, sessions in about]
    parts = _split(sum(counts) if n is None else n, counts)
    task: Any = ray.remote(_sample_chunk).options(
        num_cpus=num_cpus, max_retries=3, retry_exceptions=[KilledError]
    )
    args = flags({"seed": seed, **options})
    refs = {
        k: task.remote(Path(m).read_bytes(), part, args, binary)
        for m, part, (k, _, _) in zip(models, parts, about, strict=True)
        if part > 0
    }
    if not refs:
        raise ValueError(f"n: {n}: there is no session to sample")
    with tempfile.TemporaryDirectory(prefix="planegym-") as scratch:
        files = []
        try:
            for k, ref in sorted(refs.items()):
                files.append(Path(scratch) / f"{k:02}.parquet")
                files[-1].write_bytes(_result(ref, k, of))
        except BaseException:
            for ref in refs.values():
                ray.cancel(ref)
            raise
        command = [binary or find_binary(), "traffic", "convert", "--by-start", "-o", str(output)]
        _run([*command, *map(str, files)])
    return output


def _fit_chunk(
    args: list[str],
    again: list[str],
    chunk: int,
    chunks: int,
    name: str,
    data: bytes,
    parent: bytes | None,
    desk: Any,
    binary: str | None,
) -> bytes:
    """Learn a chunk, with the flags args, or again from the last checkpoint that the desk
    has, and give the model."""
    with tempfile.TemporaryDirectory(prefix="planegym-") as scratch:
        trace, out = Path(scratch) / name, Path(scratch) / "model.safetensors"
        trace.write_bytes(data)
        command = [binary or find_binary(), "traffic", "fit", "--json", "--progress", "json",
                   "--data", str(trace), "-o", str(out)]  # fmt: skip
        past = ray.get(desk.checkpoint.remote(chunk))
        if past is not None:
            out.write_bytes(past)
            command += ["--resume", *again]  # everything but these is in the checkpoint
        else:
            if parent is not None:
                begin = Path(scratch) / "parent.safetensors"
                begin.write_bytes(parent)
                command += ["--from", str(begin)]
            command += ["--chunk", f"{chunk}/{chunks}", *args]
        saved = _saved(out)
        for row in rows(command):
            now = _saved(out)
            if now != saved and not _done(out):  # the end comes with where the data are from
                saved = now
                ray.get(desk.keep.remote(chunk, out.read_bytes()))
            desk.say.remote({"chunk": chunk, **row})
        return out.read_bytes()


def _sample_chunk(model: bytes, n: int, args: list[str], binary: str | None) -> bytes:
    with tempfile.TemporaryDirectory(prefix="planegym-") as scratch:
        of, out = Path(scratch) / "model.safetensors", Path(scratch) / "part.parquet"
        of.write_bytes(model)
        command = [binary or find_binary(), "traffic", "sample", str(of), "-n", str(n)]
        _run([*command, "-o", str(out), *args])
        return out.read_bytes()


class _Desk:
    """An actor that has the last checkpoint and the last row of each chunk's task: tasks
    find checkpoints there wherever they run, and the caller takes both."""

    def __init__(self, checkpoints: dict[int, bytes]) -> None:
        self.checkpoints = checkpoints
        self.fresh: set[int] = set()
        self.rows: dict[int, dict[str, Any]] = {}

    def checkpoint(self, chunk: int) -> bytes | None:
        return self.checkpoints.get(chunk)

    def keep(self, chunk: int, checkpoint: bytes) -> None:
        self.checkpoints[chunk] = checkpoint
        self.fresh.add(chunk)

    def say(self, row: dict[str, Any]) -> None:
        self.rows[row["chunk"]] = row

    def take(self) -> tuple[dict[int, bytes], list[dict[str, Any]]]:
        """What came since the last call."""
        fresh, said = {k: self.checkpoints[k] for k in self.fresh}, list(self.rows.values())
        self.fresh, self.rows = set(), {}
        return fresh, said


def _saved(file: Path) -> int:
    return file.stat().st_mtime_ns if file.exists() else 0


def _result(ref: Any, chunk: int, chunks: int) -> bytes:
    """What a task gave; an error names the chunk."""
    try:
        model: bytes = ray.get(ref)
    except ray.exceptions.RayTaskError as e:
        raise RuntimeError(f"chunk {chunk} of {chunks}: {e.cause or e}") from e
    except ray.exceptions.RayError as e:
        raise RuntimeError(f"chunk {chunk} of {chunks}: {e}") from e
    return model


def _run(command: list[str]) -> str:
    p = subprocess.run(command, capture_output=True, text=True, check=False)
    if p.returncode:
        failure = KilledError if p.returncode < 0 else RuntimeError
        raise failure(f"{' '.join(command)}: {(p.stderr or p.stdout).strip()}")
    return p.stdout


def _shares(data: Path, chunks: int, binary: str) -> list[dict[str, Any]]:
    """What each chunk has."""
    command = [binary, "traffic", "fit", "--data", str(data), "--list", "--chunk", f"1/{chunks}"]
    p = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    if p.returncode:
        raise ValueError(f"planegym traffic fit: {(p.stderr or p.stdout).strip()}")
    shares: list[dict[str, Any]] = json.loads(p.stdout)["chunks"]
    if len(shares) == 1:
        raise ValueError(f"{data}: all sessions start at the same time: it has no chunks")
    return shares


def _same_call(file: Path, call: dict[str, Any]) -> None:
    """Refuse a folder with models of other data or settings."""
    if not file.exists():
        _write(file, json.dumps(call, indent=1).encode())
        return
    was = json.loads(file.read_text())
    for k, value in call.items():
        if was.get(k) != value:
            raise ValueError(
                f"{file.parent}: its models are of {k} {was.get(k)!r}, not {value!r}: "
                "take another folder"
            )


def _metadata(file: Path) -> dict[str, Any]:
    """The metadata "model" of a safetensors file."""
    with file.open("rb") as f:
        (n,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(n)) if n < 1 << 28 else {}
    model: dict[str, Any] = json.loads(header["__metadata__"]["model"])
    return model


def _done(file: Path) -> bool:
    m = _metadata(file)
    return bool(m["updates"] == m["config"]["updates"])


def _chunk_of(file: Path) -> tuple[int, int, int]:
    """Which chunk a model is of, of how many, and its sessions in training."""
    try:
        m = _metadata(file)
        k, n, sessions = (
            m["config"].get("chunk", 0),
            m["config"]["chunks"],
            m["account"]["Sessions"],
        )
    except FileNotFoundError:
        raise
    except (KeyError, ValueError, TypeError, struct.error) as e:
        raise ValueError(f"{file}: not the model of a chunk: {e!r}") from e
    if k < 1:
        raise ValueError(f"{file}: a model of a whole trace: planegym traffic sample samples it")
    if not _done(file):
        raise ValueError(f"{file}: its fit has not ended")
    return k, n, sessions


def _split(n: int, counts: list[int]) -> list[int]:
    """n split in the ratio of counts."""
    total, seen, given, parts = sum(counts), 0, 0, []
    for c in counts:
        seen += c
        up_to = (2 * n * seen + total) // (2 * total)
        parts.append(up_to - given)
        given = up_to
    return parts


def _write(file: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    part = file.with_name(f".{file.name}.part")
    part.write_bytes(content)
    part.replace(file)


def _line(row: dict[str, Any]) -> None:
    if sys.stderr.isatty():
        losses = " ".join(f"{k} {v:.3f}" for k, v in row.get("losses", {}).items())
        print(f"\r\033[Kchunk {row['chunk']}: {row['done']} of {row['total']} {losses}",
              end="", file=sys.stderr, flush=True)  # fmt: skip
