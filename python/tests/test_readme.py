"""What README.md shows is what happens."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import planegym
from fake import Fake
from planegym import errors

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)


def said(call: Callable[[], object], url: str) -> str:
    """An exception as a traceback ends, at README's address."""
    with pytest.raises(planegym.PlanegymError) as e:
        call()
    text = f"{e.type.__name__}: {e.value}\n"
    return text.replace(url, "ws://127.0.0.1:7070")


def test_first_step(binary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANEGYM_BIN", binary)
    code = next(body for kind, body in BLOCKS if kind == "python")
    assert len(code.splitlines()) <= 10
    exec(compile(code, "README.md", "exec"), {})


def test_messages(binary: str, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps(
        {"type": "error", "id": 0, "code": "unauthorized", "message": "a token is wanted"}
    ).encode()
    fake.upgrade = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    token = said(planegym.make(fake.url).reset, fake.url)

    with planegym.launch(binary=binary) as server:
        url = server.url
        env = planegym.make(url, reconnect=0)
        env.reset(seed=1)
        with monkeypatch.context() as m:
            m.setattr("planegym._session.VERSION", 9)
            version = said(planegym.make(url).reset, url)
        server.process.kill()
        server.process.wait()
        killed = said(lambda: env.step(0), url)
        gone = said(env.reset, url)
    assert [b for k, b in BLOCKS if not k and "Error" in b] == [gone, token, version, killed]


def test_table_of_errors() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?:`(\w+)`)? ?\| (?:`(\w+)`)? ?\|", README, re.MULTILINE)
    table = {name: (also, code) for name, also, code in rows}
    classes = {
        name: c
        for name, c in inspect.getmembers(errors, inspect.isclass)
        if issubclass(c, errors.PlanegymError) and c is not errors.PlanegymError
    }
    assert table.keys() == classes.keys()
    for name, c in classes.items():
        also = [b.__name__ for b in c.__mro__ if b.__module__ == "builtins"]
        assert table[name][1] == c.code, name
        assert table[name][0] == ("" if also[0] == "Exception" else also[0]), name
