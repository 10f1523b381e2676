"""A server of one's own: found or built, started on a free port, stopped again."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from .errors import BinaryNotFoundError, LaunchError, PlanegymError

if TYPE_CHECKING:
    from .worker import Worker

_URL = re.compile(r"\bat ((?:wss?|unix)://[^\s\"']+)")  # serving synthetic at …
_MODULE = "module github.com/planegym/planegym\n"


class Server:
    """A server process that launch started. Use it in a with statement, or close it.

    Attributes:
        url: where it listens.
        process: the process.
    """

    def __init__(
        self, command: Sequence[str], timeout: float, workers: Sequence[Worker] = ()
    ) -> None:
        self.command, self.workers = list(command), workers
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,  # its end tells the server that the client is gone
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Ctrl-C in the terminal is for the learner; close stops the server.
            start_new_session=sys.platform != "win32",
        )
        self._pid = os.getpid()
        # A server that is forgotten is killed, at exit at the latest.
        self._farewell = weakref.finalize(self, _kill, self.process, self._pid)
        self._heard = _Heard(self.process)
        self._heard.start()
        deadline = time.monotonic() + timeout
        while not self._heard.listening.wait(0.02):
            if self.process.poll() is not None:
                self._heard.join(1)
                raise self._failed(f"it ended with code {self.process.returncode}")
            if time.monotonic() > deadline:
                self.close()
                raise self._failed(f"it named no address within {timeout:g} s")
        self.url = self._heard.url

    def _failed(self, what: str) -> LaunchError:
        return LaunchError(f"{' '.join(self.command)}: {what}\n{self.output.rstrip()}")

    @property
    def output(self) -> str:
        """The last lines that the server printed."""
        return "".join(self._heard.lines)

    def close(self, timeout: float = 10.0) -> None:
        """Ask the server to stop, and kill it where it does not. Closing again
        does nothing, nor does closing in a fork of the process that launched it."""
        if os.getpid() != self._pid or self._farewell.detach() is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        _hang_up(self.process)
        self._heard.join(1)
        for w in self.workers:
            w.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Heard(threading.Thread):
    """What a server says: read until it ends, so that a full pipe never stops it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__(name="planegym-server", daemon=True)
        self._out = process.stdout
        self.url = ""
        self.lines: deque[str] = deque(maxlen=50)
        self.listening = threading.Event()

    def run(self) -> None:
        assert self._out is not None
        with self._out as out:
            for line in out:
                self.lines.append(line)
                if not self.url and (found := _URL.search(line)):
                    self.url = found[1]
                    self.listening.set()


def _kill(process: subprocess.Popen[str], pid: int) -> None:
    if pid == os.getpid() and process.poll() is None:
        process.kill()
        process.wait()
    _hang_up(process)


def _hang_up(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def launch(
    scenario: str | None = None,
    *,
    args: Sequence[str] = (),
    workers: Mapping[str, Callable[..., Any]] | None = None,
    binary: str | os.PathLike[str] | None = None,
    timeout: float = 60.0,
) -> Server:
    """Start a server on a free port of this machine and wait until it listens. It
    ends with this process, or the last of its forks, even where that is killed.

    Args:
        scenario: a bundled scenario or a TOML file that must work; the other
            bundled ones are served too.
        args: more arguments of `planegym serve`.
        workers: environments of your own by scenario: what makes one, as
            planegym.worker.Worker has it. They are stepped on threads of this process.
        binary: the planegym binary; default PLANEGYM_BIN, then the one that the
            wheel brought, then PATH, then what `go build` makes of a clone
            around the working directory or this file.
        timeout: seconds until it must listen.

    Raises:
        BinaryNotFoundError: there is none, and no Go and clone to build one.
        LaunchError: it ended at once or never listened; has what it printed.
    """
    command = [str(binary or find_binary()), "serve", "--exit-with-stdin", *args]
    if not any(a.split("=")[0] in ("--addr", "--unix") for a in args):
        command += ["--addr", "127.0.0.1:0"]
    if scenario is not None:
        command += ["--scenario", scenario]
    if not workers:
        return Server(command, timeout)
    from .worker import Worker

    own: list[Worker] = []
    try:
        for name, make in workers.items():
            own.append(Worker(make, name).start())
            command += ["--worker", f"{name}={own[-1].url}"]
        return Server(command, timeout, own)
    except BaseException:
        for w in own:
            w.close()
        raise


def find_binary() -> str:
    """The planegym binary that launch uses."""
    named = os.environ.get("PLANEGYM_BIN")
    if named:
        found = shutil.which(named)
        if found is None:
            raise BinaryNotFoundError(f"PLANEGYM_BIN={named} is not an executable file")
        return found
    if _BUNDLED.is_file():
        return str(_BUNDLED)
    found = _on_path()
    if found is not None:
        return found
    clone = _clone()
    if clone is None:
        raise BinaryNotFoundError(
            "this installation of the Python package came without the server's binary, none is "
            "on PATH, and this is not a clone of the repository"
        )
    go = shutil.which("go")
    if go is None:
        raise BinaryNotFoundError(f"no planegym on PATH, and no Go to build {clone}")
    return _build(go, clone)


_BUNDLED = Path(__file__).resolve().parent / "bin" / f"planegym{'.exe' * (os.name == 'nt')}"


def _on_path() -> str | None:
    """The server's binary on PATH; main's own command is none."""
    for folder in os.get_exec_path():
        found = shutil.which("planegym", path=folder)
        if found is not None and not _is_command(Path(found)):
            return found
    return None


def _is_command(path: Path) -> bool:
    """Whether a file is what pip made of main: a script, or a small .exe around one."""
    try:
        return path.stat().st_size < 1 << 20 and b"planegym._launch" in path.read_bytes()
    except OSError:
        return False


def main() -> NoReturn:
    """The planegym command of the Python package: the server's binary."""
    try:
        binary = find_binary()
    except PlanegymError as e:
        sys.exit(f"planegym: {e}")
    command = [binary, *sys.argv[1:]]
    if os.name != "nt":
        os.execv(binary, command)
    with contextlib.suppress(KeyboardInterrupt):  # the binary hears it too, and ends
        sys.exit(subprocess.call(command))
    sys.exit(130)


def _clone() -> Path | None:
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            mod = folder / "go.mod"
            if mod.is_file() and mod.read_text(errors="replace").startswith(_MODULE):
                return folder
    return None


def _build(go: str, clone: Path) -> str:
    """Build the clone's command; Go's cache makes the second time quick."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "planegym"
    cache.mkdir(parents=True, exist_ok=True)
    # A name of its own while it is written: several processes may build at once.
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        fresh = Path(folder) / "planegym"
        done = subprocess.run(
            [go, "build", "-o", str(fresh), "./cmd/planegym"],
            cwd=clone,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise LaunchError(f"go build ./cmd/planegym in {clone} failed:\n{done.stderr.rstrip()}")
        return str(fresh.replace(cache / "planegym"))
