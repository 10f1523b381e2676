"""What a client promises whatever the other end says: its timeout, its own errors for
malformed greetings, and that a pickle holds no secret."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
import time
from typing import Any

import pytest

import planegym
from fake import PING, TEXT, Conn, Counter, Fake

WELCOME = {
    "type": "welcome", "id": 0, "server": "fake/1", "versions": [1], "capabilities": [],
    "limits": {"ping_seconds": 20}, "session": "s", "resume_token": "",
}  # fmt: skip
BOX = {"type": "box", "dtype": "float32", "shape": [1], "low": [0], "high": [1]}
MADE = {
    "type": "made", "id": 1, "env": 1, "scenario": "x", "num_envs": 1, "autoreset": "disabled",
    "observation_space": BOX, "action_space": {"type": "multi_discrete", "n": [2]},
    "limits": [32, 64], "initial": [64], "max_steps": 5, "step_seconds": 4, "real_time": False,
    "info_fields": [{"name": "lbo_s", "unit": "s"}], "in_flight": 64,
}  # fmt: skip
JUNK: list[Any] = [
    *(None, True, -1, 1.5, 1e999, 2**70, "x", ""),
    *([], [None], ["x"], [[]], {}, {"a": 1}),
]


@pytest.mark.parametrize("noise", ["pings", "events", "bytes"])
@pytest.mark.parametrize("seconds", [0.5])
def test_timeout_holds_while_something_arrives(fake: Fake, noise: str, seconds: float) -> None:
    """Every 50 ms something that is no reply: the timeout is that of the reply."""
    counter = Counter()

    def on_request(conn: Conn, seq: int) -> bool:
        if seq < 3:
            return True
        if noise == "bytes":
            conn.raw(b"\x82\x7e\x10\x00")  # a message that never ends
        for _ in range(200):
            time.sleep(0.05)
            if noise == "pings":
                conn.send(PING, b"hello")
            elif noise == "events":
                conn.say("event", event="new")
            else:
                conn.raw(b"x")
        return False

    counter.on_request = on_request
    fake.handlers = [counter]
    env = planegym.make(fake.url, "cartpole", timeout=seconds)
    env.reset(seed=1)
    began = time.monotonic()
    with pytest.raises(planegym.ReplyTimeoutError):
        env.step(0)
    assert seconds - 0.05 < time.monotonic() - began < seconds + 5
    env.close()


def paths(message: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = message.items() if isinstance(message, dict) else enumerate(message)
    found = []
    for k, v in inner:
        if k in ("type", "id"):
            continue
        found.append((*at, k))
        if isinstance(v, (dict, list)):
            found += paths(v, (*at, k))
    return found


def with_value(message: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed: Any = copy.deepcopy(message)
    inner = changed
    for k in path[:-1]:
        inner = inner[k]
    inner[path[-1]] = value
    return changed  # type: ignore[no-any-return]


CASES = [("welcome", p) for p in paths(WELCOME)] + [("made", p) for p in paths(MADE)]


@pytest.mark.parametrize(("which", "path"), CASES, ids=lambda v: ".".join(map(str, v)))
def test_malformed_greetings(fake: Fake, which: str, path: tuple[Any, ...]) -> None:
    """Whatever a field holds, connecting works or is a PlanegymError."""
    said: list[Any] = []

    def handler(conn: Conn) -> None:
        conn.json()
        conn.send(TEXT, json.dumps(said[0]).encode())
        conn.json()
        conn.send(TEXT, json.dumps(said[1]).encode())
        conn.message()

    fake.handlers = [handler]
    for junk in JUNK:
        said[:] = [WELCOME, MADE]
        at = 0 if which == "welcome" else 1
        said[at] = with_value(said[at], path, junk)
        env = planegym.make(fake.url, "x", timeout=2.0, reconnect=0)
        with contextlib.suppress(planegym.PlanegymError):
            env._open()
            assert env.observation_space.shape is not None
            str(env.spec)
        env.close()
    assert not fake.errors


def test_resumed_without_accepted(fake: Fake) -> None:
    """A resumed message that lacks its number loses the session, by that name."""
    counter = Counter()
    counter.on_request = lambda conn, seq: seq < 3

    def resumed(conn: Conn) -> None:
        conn.json()
        conn.say("resumed", id=0)
        conn.message()

    fake.handlers = [counter, resumed]
    env = planegym.make(fake.url, "cartpole", reconnect=20.0, timeout=20.0)
    env.reset(seed=1)
    with pytest.raises(planegym.SessionLostError, match="accepted is missing"):
        env.step(0)


SECRET = "a-bearer-token"


@pytest.mark.parametrize("cls", ["Env", "VectorEnv"])
def test_a_pickle_holds_no_token(cls: str, monkeypatch: pytest.MonkeyPatch) -> None:
    env = getattr(planegym, cls)("ws://127.0.0.1:9", "cartpole", token=SECRET)
    pickled = pickle.dumps(env)
    assert SECRET.encode() not in pickled
    assert SECRET not in repr(env)
    assert SECRET not in str(env.spec)
    assert pickle.loads(pickled)._remote.config.token is None
    monkeypatch.setenv("PLANEGYM_TOKEN", "of the worker")
    assert pickle.loads(pickled)._remote.config.token == "of the worker"
    assert copy.deepcopy(env)._remote.config.token == SECRET
