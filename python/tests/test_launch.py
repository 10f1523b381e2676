"""planegym.launch: which binary it takes, and what it says where it cannot."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import planegym
from planegym import _launch as launching


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No binary to be found, outside of a clone."""
    monkeypatch.delenv("PLANEGYM_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(launching, "_clone", lambda: None)


def script(path: Path, text: str) -> str:
    """An executable."""
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_serves_and_stops(binary: str) -> None:
    with planegym.launch("cartpole", binary=binary) as server:
        env = planegym.make(server.url, "cartpole")
        assert env.reset(seed=1)[0].shape == (4,)
        env.close()
        port = int(server.url.rsplit(":", 1)[1].split("/")[0])
        assert "serving cartpole" in server.output
    assert server.process.returncode == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))
    server.close()


def test_forgotten_server_ends(binary: str) -> None:
    server = planegym.launch(binary=binary)
    process = server.process
    del server
    assert process.wait(60) == -signal.SIGKILL


def test_exit_ends_the_server(binary: str) -> None:
    """The launcher's own end, not that of its forks."""
    code = (
        "import os, planegym, sys\n"
        f"s = planegym.launch(binary={binary!r})\n"
        "if os.fork() == 0:\n  s.close(); sys.exit()\n"
        "assert os.wait()[1] == 0\n"
        "planegym.make(s.url).reset()\n"
        "print(s.process.pid)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.stderr, done.returncode) == ("", 0)
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_kill_ends_the_server(binary: str, tmp_path: Path) -> None:
    """Nothing of the launcher runs after SIGKILL. The server drains all the same:
    what it records is whole."""
    code = (
        "import os, planegym, signal\n"
        f"s = planegym.launch(binary={binary!r}, args=['--record', {str(tmp_path)!r}])\n"
        "e = planegym.make(s.url, 'cartpole', record=True)\n"
        "e.reset()\n"
        "e.step(0)\n"
        "print(s.process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.stderr, done.returncode) == ("", -signal.SIGKILL)
    ends = time.monotonic() + 60
    while running(int(done.stdout)):
        assert time.monotonic() < ends
        time.sleep(0.02)
    (recorded,) = tmp_path.iterdir()
    assert recorded.suffix == ".parquet"
    assert recorded.read_bytes()[-4:] == b"PAR1"


def running(pid: int) -> bool:
    """Whether a process is there and not a zombie, as one is that no parent has reaped."""
    try:
        stat_line = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        if sys.platform == "linux":
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    return stat_line.rpartition(")")[2].split()[0] != "Z"


def test_scenario_that_fails(binary: str) -> None:
    """What the server said is in the error."""
    with pytest.raises(planegym.LaunchError, match="carpole") as e:
        planegym.launch("carpole", binary=binary)
    assert (
        "serve --exit-with-stdin --addr 127.0.0.1:0 --scenario carpole: it ended with code"
        in str(e.value)
    )


def test_no_binary() -> None:
    with pytest.raises(planegym.BinaryNotFoundError, match="Set PLANEGYM_BIN to a planegym binary"):
        planegym.launch()


def test_named_binary_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLANEGYM_BIN", str(tmp_path / "none"))
    with pytest.raises(planegym.BinaryNotFoundError, match=r"PLANEGYM_BIN=.*none is no"):
        planegym.launch()


def test_environment_before_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, binary: str
) -> None:
    on_path = script(tmp_path / "planegym", "")
    assert launching.find_binary() == on_path
    monkeypatch.setenv("PLANEGYM_BIN", binary)
    with planegym.launch() as server:
        assert server.command[0] == binary


def test_clone_without_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(launching, "_clone", lambda: tmp_path)
    with pytest.raises(planegym.BinaryNotFoundError, match="no Go"):
        planegym.launch()


def test_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`go build -o FILE ./cmd/planegym`, into the user's cache; its words where it fails."""
    monkeypatch.setattr(launching, "_clone", lambda: tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cp = shutil.which("cp", path=os.defpath)
    script(tmp_path / "go", f'[ "$1$4" = build./cmd/planegym ] && {cp} "$0" "$3"\n')
    assert launching.find_binary() == str(tmp_path / "cache/planegym/planegym")
    script(tmp_path / "go", "echo no such package >&2; exit 1\n")
    with pytest.raises(planegym.LaunchError, match="no such package"):
        planegym.launch()
    assert [p.name for p in (tmp_path / "cache/planegym").iterdir()] == ["planegym"]


def test_clone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    root = Path(__file__).resolve().parents[2]
    monkeypatch.chdir(root / "python/tests")
    assert launching._clone() == root


def test_binary_that_says_nothing(tmp_path: Path) -> None:
    sleep = shutil.which("sleep", path=os.defpath)
    mute = script(tmp_path / "mute", f"echo starting; exec {sleep} 60\n")
    with pytest.raises(planegym.LaunchError, match=r"named no address within 0\.5 s\nstarting"):
        planegym.launch(binary=mute, timeout=0.5)


def test_output_is_read_on(tmp_path: Path) -> None:
    """A server that talks does not stop at a full pipe; its last lines stay available."""
    text = "echo at ws://127.0.0.1:1/v1/ws; i=0\n"
    text += 'while [ $i -lt 20000 ]; do echo "line $i of many"; i=$((i+1)); done\n'
    with planegym.launch(binary=script(tmp_path / "talker", text)) as server:
        assert server.url == "ws://127.0.0.1:1/v1/ws"
        assert server.process.wait(300) == 0
    assert server.output.endswith("line 19999 of many\n")
    assert len(server.output) < 2000


def test_bundled_before_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, binary: str) -> None:
    """What the wheel brought comes before PATH; the planegym command runs it."""
    script(tmp_path / "planegym", "")
    monkeypatch.setattr(launching, "_BUNDLED", Path(binary))
    assert launching.find_binary() == binary


def test_command(binary: str, tmp_path: Path) -> None:
    """`planegym` of the package is the server's binary: arguments, output and exit code."""
    code = "import sys; from planegym._launch import main; sys.argv[0] = 'planegym'; main()"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PLANEGYM_BIN": binary}

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *args],
            capture_output=True, text=True, check=False, env=env, cwd=tmp_path,
        )  # fmt: skip

    assert '"cartpole"' in run("scenario", "list", "--json").stdout
    assert run("no-such-command").returncode == 2
    env["PLANEGYM_BIN"] = str(tmp_path / "none")
    none = run("serve")
    assert none.returncode == 1
    assert none.stderr.startswith("planegym: PLANEGYM_BIN=")


def test_own_command_is_no_server(tmp_path: Path) -> None:
    """The command that pip makes of the package does not call itself for ever."""
    command = script(tmp_path / "planegym", "exec python -c 'from planegym._launch import main'\n")
    assert launching._is_command(Path(command))
    with pytest.raises(planegym.BinaryNotFoundError, match="came without the server's binary"):
        planegym.launch()
