"""Serve a Gymnasium environment of your own: planegym.worker.

    python -m planegym.worker mine.envs:make --name mine --unix /tmp/mine.sock
    planegym serve --worker mine=unix:///tmp/mine.sock

The worker steps the environment in Python; `planegym serve` in front of it adds the
dashboard, recordings, sessions that resume, tokens, and learners in any language:

    planegym.make(url, "mine")        planegym train --url ws://127.0.0.1:7070 --scenario mine

From Python alone: planegym.launch(workers={"mine": make}).

Observations of any space are flattened (gymnasium.spaces.flatten) to float32; actions are
Discrete, MultiDiscrete or MultiBinary. Numbers in the info dict of a first reset
become info fields; one that a later step leaves out is 0 there, as in Gymnasium's vectors.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

import gymnasium

from ._worker_rows import Make
from ._worker_session import Session
from ._worker_ws import GoneError, Wire

log = logging.getLogger("planegym")


class Worker:
    """A server of one environment over a unix socket, for `planegym serve --worker`.

    Each environment that a session makes is `num_envs` calls of make, stepped one after
    the other on the session's thread. The socket is its owner's alone (mode 0600).

    Args:
        make: gives an environment; the keyword arguments are the session's kwargs.
        name: of the scenario.
        path: of the socket; None: one in a temporary folder.
    """

    def __init__(self, make: Make, name: str, path: str | os.PathLike[str] | None = None) -> None:
        if not hasattr(socket, "AF_UNIX"):
            raise OSError("a worker needs unix sockets; Python has none on this system")
        self.make, self.name = make, name
        self._folder = None if path else tempfile.TemporaryDirectory(prefix="planegym-")
        self.path = Path(path) if path else Path(self._folder.name) / "s"  # type: ignore[union-attr]
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if self.path.is_socket():  # of a worker that is gone; one that lives answers
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                if s.connect_ex(str(self.path)) == 0:
                    self._listener.close()
                    raise FileExistsError(f"{self.path}: another worker listens there")
            self.path.unlink()
        before = os.umask(0o177)
        try:
            self._listener.bind(str(self.path))
        finally:
            os.umask(before)
        self._listener.listen()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._accepter: threading.Thread | None = None
        self._threads: set[threading.Thread] = set()
        self._closed = False

    @property
    def url(self) -> str:
        """unix:///path, for --worker NAME=URL."""
        return f"unix://{self.path}"

    def start(self) -> Worker:
        """Serve on threads of this process."""
        self._accepter = threading.Thread(target=self.run, name="planegym-worker", daemon=True)
        self._accepter.start()
        return self

    def run(self) -> None:
        """Serve until close."""
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            with self._lock:  # started before close can find it, and join it
                if self._closed:
                    sock.close()
                    return
                self._open.add(sock)
                self._threads.add(thread)
                thread.start()

    def close(self) -> None:
        """End the sessions, and remove the socket. Closing again does nothing."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            self._closed = True
            threads = list(self._threads)
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for t in threads:
            if t is not threading.current_thread():
                t.join(10)
        with contextlib.suppress(OSError):
            self.path.unlink()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Worker:
        return self.start() if self._accepter is None else self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock.makefile("rb", buffering=64 << 10) as file:
                Session(Wire(sock, cast(IO[bytes], file)), self.name, self.make).run()
        except (GoneError, OSError):
            pass
        except Exception:
            log.exception("worker %s: a session ended", self.name)
        finally:
            sock.close()
            with self._lock:
                self._open.discard(sock)
                self._threads.discard(threading.current_thread())


def _find(target: str) -> Make:
    """module:attribute, or a Gymnasium id."""
    module, colon, attribute = target.partition(":")
    if not colon or "/" in target:
        return lambda **kwargs: gymnasium.make(target, **kwargs)
    found = getattr(importlib.import_module(module), attribute)
    if not callable(found):
        raise TypeError(f"{target} is not callable")
    return found  # type: ignore[no-any-return]


def main(argv: Sequence[str] | None = None) -> None:
    """python -m planegym.worker."""
    parser = argparse.ArgumentParser(
        prog="python -m planegym.worker",
        description="Serve a Gymnasium environment for `planegym serve --worker NAME=unix://…`.",
        epilog="example: python -m planegym.worker CartPole-v1 --name pole --unix /tmp/pole.sock",
    )
    parser.add_argument(
        "target", help="module:callable that gives an environment, or a Gymnasium id"
    )
    parser.add_argument("--name", required=True, help="of the scenario")
    parser.add_argument("--unix", required=True, help="path of the socket to listen at")
    args = parser.parse_args(argv)
    sys.path.insert(0, os.getcwd())
    worker = Worker(_find(args.target), args.name, args.unix)
    print(f"planegym serve --worker {args.name}={worker.url}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        worker.run()
    worker.close()


if __name__ == "__main__":
    main()
