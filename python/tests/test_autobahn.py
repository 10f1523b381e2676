"""The client's WebSocket against Autobahn's suite (wstest on PATH, or the file that
PLANEGYM_WSTEST names: .ci/autobahn installs it, on CPython 2.7)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from planegym import _ws

WSTEST = os.environ.get("PLANEGYM_WSTEST") or shutil.which("wstest")
CASES = 247


def connect(port: int, path: str) -> _ws.WebSocket:
    """A connection to a path with a query, which planegym's own URLs do not have."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    ws = _ws.WebSocket(sock)
    ws.settimeout(20)
    return ws


def echo(ws: _ws.WebSocket) -> None:
    """Send every message back, until the connection is over."""
    try:
        while True:
            ws.begin()
            opcode, start, end = ws.recv()
            ws.send(opcode, bytes(ws.buf[start:end]))
    except _ws.WebSocketError:
        ws.abort()


@pytest.mark.skipif(not WSTEST, reason="no Autobahn here: no wstest, and PLANEGYM_WSTEST is unset")
def test_autobahn(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spec = {
        "url": f"ws://127.0.0.1:{port}", "outdir": str(tmp_path), "webport": 0, "cases": ["*"],
        "exclude-cases": ["9.*", "12.*", "13.*"], "exclude-agent-cases": {},
    }  # fmt: skip
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    command = [str(WSTEST), "-m", "fuzzingserver", "-u", "0", "-s", "spec.json"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as suite:
        try:
            for _ in range(200):
                with socket.socket() as s:
                    if s.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert suite.poll() is None
                time.sleep(0.1)
            ws = connect(port, "/getCaseCount")
            ws.begin()
            _, start, end = ws.recv()
            assert int(bytes(ws.buf[start:end])) >= CASES
            n = int(bytes(ws.buf[start:end]))
            ws.abort()
            for case in range(1, n + 1):
                echo(connect(port, f"/runCase?case={case}&agent=planegym"))
            echo(connect(port, "/updateReports?agent=planegym"))
        finally:
            suite.terminate()
    report = json.loads((tmp_path / "index.json").read_text())["planegym"]
    good = {"OK", "INFORMATIONAL", "NON-STRICT"}
    bad = {c: r for c, r in report.items() if not {r["behavior"], r["behaviorClose"]} <= good}
    assert not bad
    assert len(report) == n
