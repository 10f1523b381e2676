"""What a server with options asks of the client: tokens, unix sockets, TLS, and
to come back after a cut. A server without the option skips the test by name."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import planegym

Launch = Callable[..., planegym.Server]


@pytest.fixture
def launch(binary: str) -> Iterator[Launch]:
    """planegym.launch with options of serve."""
    flags = subprocess.run([binary, "serve", "--help"], capture_output=True, text=True, check=True)
    with contextlib.ExitStack() as stack:

        def start(**options: object) -> planegym.Server:
            args = []
            for name, value in options.items():
                flag = "--" + name.replace("_", "-")
                if flag + " " not in flags.stdout:
                    pytest.skip(f"this server has no {flag}")
                args += [flag, str(value)]
            return stack.enter_context(planegym.launch(binary=binary, args=args))

        yield start


def steps(env: Any) -> list[np.ndarray]:
    """What ten steps show."""
    obs = [env.reset(seed=3)[0]]
    obs += [env.step(i % 2)[0] for i in range(9)]
    env.close()
    return obs


@pytest.fixture
def expected() -> list[np.ndarray]:
    return steps(gymnasium.make("CartPole-v1"))


def test_token(
    launch: Launch, tmp_path: Path, expected: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tokens"
    token = "a-token-of-32-characters-in-all-"
    file.write_text(token + "\n")
    file.chmod(0o600)
    url = launch(token_file=file).url
    for wrong in (None, "another-token-of-32-characters--"):
        with pytest.raises(planegym.UnauthorizedError, match=r"Pass token=.*PLANEGYM_TOKEN") as e:
            planegym.make(url, "cartpole", token=wrong).reset()
        assert e.value.code == "unauthorized"
        assert str(wrong) not in str(e.value)
    assert np.array_equal(steps(planegym.make(url, "cartpole", token=token)), expected)
    monkeypatch.setenv("PLANEGYM_TOKEN", token)
    assert np.array_equal(steps(planegym.make(url, "cartpole")), expected)


def test_unix_socket(launch: Launch, tmp_path: Path, expected: list[np.ndarray]) -> None:
    path = tmp_path / "socket"
    server = launch(unix=path)
    assert server.url == f"unix://{path}"
    assert np.array_equal(steps(planegym.make(server.url, "cartpole")), expected)


def certificate(folder: Path, name: str, *signer: str) -> None:
    """NAME.pem and NAME.key for 127.0.0.1, signed by itself or a signer."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make certificates with")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key"]
    command += ["-out", f"{name}.pem", "-addext", "subjectAltName=IP:127.0.0.1", *signer]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def test_tls(launch: Launch, tmp_path: Path, expected: list[np.ndarray]) -> None:
    certificate(tmp_path, "server")
    certificate(tmp_path, "client")
    server = tmp_path / "server.pem"
    client = str(tmp_path / "client.pem"), str(tmp_path / "client.key")
    url = launch(
        tls_cert=server, tls_key=tmp_path / "server.key", client_ca=tmp_path / "client.pem"
    ).url
    assert url.startswith("wss://127.0.0.1:")
    env = planegym.make(url, "cartpole", ca=str(server), cert=client)
    assert np.array_equal(steps(env), expected)
    with pytest.raises(planegym.UnauthorizedError, match="ca="):
        planegym.make(url, "cartpole", cert=client).reset()
    with pytest.raises(planegym.PlanegymError, match=r"TLS|certificate"):
        planegym.make(url, "cartpole", ca=str(server)).reset()


class Proxy:
    """Forwards to a server and cuts connections after some bytes of an answer."""

    def __init__(self, url: str, seed: int) -> None:
        host, port = url.removeprefix("ws://").split("/")[0].split(":")
        self.target = host, int(port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self.listener.getsockname()[1]}"
        self.chance = random.Random(seed)
        self.cuts = 0
        self.sockets = [self.listener]
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target)
                self.sockets += [near, far]
                for a, b, back in ((near, far, False), (far, near, True)):
                    t = threading.Thread(target=self.pump, args=(a, b, back))
                    self.threads.append(t)
                    t.start()

    def pump(self, a: socket.socket, b: socket.socket, back: bool) -> None:
        left = self.chance.randrange(1000, 6000)
        with contextlib.suppress(OSError):
            while data := a.recv(4096):
                if back and len(data) >= left:
                    b.sendall(data[:left])  # a reply in part, or not at all
                    self.cuts += 1
                    break
                left -= len(data)
                b.sendall(data)
        for s in (a, b):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        for t in self.threads:
            t.join()
        for s in self.sockets:
            s.close()


@pytest.mark.parametrize("n", [1, 5])
def test_resume(launch: Launch, n: int) -> None:
    """1,500 steps through a connection that keeps breaking are those of an
    unbroken one."""
    server = launch(resume="30s")
    with contextlib.closing(Proxy(server.url, n)) as proxy:
        _same_through(proxy, server.url, n)
        assert proxy.cuts > 10


def _same_through(proxy: Proxy, url: str, n: int) -> None:
    own = planegym.VectorEnv(url, "cartpole", n, autoreset_mode="same_step")
    cut = planegym.VectorEnv(proxy.url, "cartpole", n, autoreset_mode="same_step")
    assert np.array_equal(own.reset(seed=1)[0], cut.reset(seed=1)[0])
    rng = np.random.default_rng(1)
    for _ in range(1500):
        actions = rng.integers(0, 2, n)
        for x, y in zip(own.step(actions)[:4], cut.step(actions)[:4], strict=True):
            assert x.tobytes() == y.tobytes()
    own.close()
    cut.close()


def test_server_comes_back(launch: Launch, binary: str, tmp_path: Path) -> None:
    """Killed and started again with its journal, it goes on where it was."""
    server = launch(journal=tmp_path, addr="127.0.0.1:0")
    address = server.url.removeprefix("ws://").split("/")[0]
    own = gymnasium.make("CartPole-v1")
    env = planegym.make(server.url, "cartpole", reconnect=20)
    assert np.array_equal(own.reset(seed=3)[0], env.reset(seed=3)[0])
    for i in range(4):
        assert np.array_equal(own.step(i % 2)[0], env.step(i % 2)[0])
    server.process.kill()
    server.process.wait()
    with planegym.launch(binary=binary, args=["--addr", address, "--journal", str(tmp_path)]):
        for i in range(4):
            assert np.array_equal(own.step(i % 2)[0], env.step(i % 2)[0])
        env.close()
