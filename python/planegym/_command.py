"""Commands of planegym as processes, for planegym.ray: flags, and progress row by row."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Config = Mapping[str, Any]


class KilledError(RuntimeError):
    """A signal ended the command, as the kernel does where memory is short: running it
    again may help."""


def flags(options: Config) -> list[str]:
    """Options as a command's flags: a Mapping repeats its flag as KEY=VALUE in TOML, a
    list repeats it, True is the flag alone, None and False leave it out."""
    args: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            args.append(flag)
        elif isinstance(value, Mapping):
            for k, v in value.items():
                args += [flag, f"{k}={json.dumps(_plain(v))}"]
        else:
            for v in value if isinstance(value, (list, tuple)) else [value]:
                args += [flag, str(v)]
    return args


def _plain(v: Any) -> Any:
    return v.tolist() if isinstance(v, (np.generic, np.ndarray)) else v


def rows(command: list[str], result: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """The progress of a command, row by row; it is ended when the caller goes away. What it
    prints with --json is put into result."""
    out = tempfile.TemporaryFile("w+")  # noqa: SIM115
    process = subprocess.Popen(
        command, stdout=out, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    assert process.stderr is not None
    said: deque[str] = deque(maxlen=20)
    try:
        for line in process.stderr:
            row = None
            if line.startswith("{"):
                with contextlib.suppress(ValueError):
                    row = json.loads(line)
            if isinstance(row, dict) and row.get("event") == "progress":
                yield row
            else:
                said.append(line)
        process.wait()
        out.seek(0)
        printed: dict[str, Any] = {}
        with contextlib.suppress(ValueError):
            printed = json.load(out)
        if process.returncode:
            said.append(str(printed.get("error", "")))  # where it goes with --json
            failure = KilledError if process.returncode < 0 else RuntimeError
            raise failure(f"{' '.join(command)}: ended with {process.returncode}\n{''.join(said)}")
        if result is not None:
            result.update(printed)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stderr.close()
        out.close()
