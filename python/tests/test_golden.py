"""The protocol's golden messages (env/ws/testdata), which Go's tests read too: the bytes
that this client sends and understands are the server's."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import planegym
from fake import BINARY, TEXT, Conn, Fake
from planegym import _messages as protocol
from planegym._config import config
from planegym._remote import action_space, observation_space
from planegym._session import Session
from planegym.errors import from_code

FOLDER = Path(__file__).resolve().parents[2] / "env" / "ws" / "testdata"
if not FOLDER.is_dir():
    pytest.skip("the fixtures are in the repository", allow_module_level=True)
BINARIES = json.loads((FOLDER / "binary.golden").read_text())
TEXTS: dict[str, list[dict[str, Any]]] = {}
for line in (FOLDER / "text.golden").read_text().splitlines():
    TEXTS.setdefault(json.loads(line)["type"], []).append(json.loads(line))


def fixture(name: str) -> bytes:
    return (FOLDER / f"{name}.golden").read_bytes()


@pytest.fixture
def talk(fake: Fake) -> Iterator[Callable[..., tuple[Session, Conn]]]:
    """A session with the golden welcome and environment, and the server's end of it."""
    ends: list[Conn] = []
    sessions: list[Session] = []
    said: list[dict[str, Any]] = []

    def handler(conn: Conn) -> None:
        said.append(conn.json())
        conn.send(TEXT, json.dumps(TEXTS["welcome"][0]).encode())
        said.append(conn.json())
        ends.append(conn)
        conn.send(TEXT, json.dumps(TEXTS["made"][0]).encode())
        while True:
            heard.append(conn.message())

    heard: list[tuple[int, bytes]] = []
    fake.handlers = [handler]

    def start(info: bool = True) -> tuple[Session, Conn]:
        asked = {k: TEXTS["make"][0][k] for k in ("record", "kwargs")}
        s = Session(config(fake.url, "replay", 3, "same_step", {"info": info, **asked}))
        sessions.append(s)
        conn = ends[-1]
        conn.said, conn.heard = said, heard  # type: ignore[attr-defined]
        return s, conn

    yield start
    for s in sessions:
        s.abandon()


def at(s: Session, seq: int, ack: int) -> None:
    """As if all requests before seq had been sent and all up to ack answered."""
    s.seq, s.ack = seq - 1, ack
    s.pending.clear()
    s.pending.extend((n, b"") for n in range(ack + 1, seq))


def unmasked(frame: bytes) -> bytes:
    """The message of a client's frame of less than 126 bytes."""
    assert frame[0] == 0x82
    assert frame[1] == 0x80 | len(frame) - 6
    return bytes(b ^ frame[2 + i % 4] for i, b in enumerate(frame[6:]))


@pytest.mark.parametrize("r", BINARIES["requests"], ids=lambda r: r["name"])
def test_requests(talk: Any, r: dict[str, Any]) -> None:
    s, _ = talk()
    sent: list[bytes] = []
    s.ws.sendall = sent.append
    s.env = r["env"]
    at(s, r["seq"], r["ack"])
    s.failed = bool(r["flags"] & protocol.RESYNC)
    if not s.failed:  # with nothing in flight the client would say RESYNC
        s.pending.append((0, b""))
    columns = []
    if r["type"] == protocol.STEP_MANY:
        columns.append(np.array([r["steps"], 0], "<u4"))
    if "seeds" in r:
        columns.append(np.array([int(v) for v in r["seeds"]], "<u8"))
    if "rows" in r:
        columns.append(np.array(r["rows"], "<u4"))
    if "actions" in r:
        columns.append(np.array(r["actions"], "<i4"))
    s.send_batch(r["type"], r["flags"] & ~protocol.RESYNC, r["n"], *columns)
    assert unmasked(sent[0]) == fixture(r["name"])


def test_the_quick_step(talk: Any) -> None:
    """send_step writes what send_batch does."""
    (r,) = (r for r in BINARIES["requests"] if r["name"] == "step")
    s, _ = talk(info=False)
    sent: list[bytes] = []
    s.ws.sendall = sent.append
    at(s, r["seq"], r["ack"])
    s.pending.append((0, b""))
    s.send_step(np.array(r["actions"], np.int64).reshape(3, 2))
    assert unmasked(sent[0]) == fixture("step")


def bits(values: Any) -> list[int]:
    return np.asarray(values, "<f4").reshape(-1).view("<u4").tolist()


@pytest.mark.parametrize("info", [True, False])
@pytest.mark.parametrize("r", BINARIES["results"], ids=lambda r: r["name"])
def test_results(talk: Any, r: dict[str, Any], info: bool) -> None:
    s, conn = talk(info=info)
    s.made["env"] = r["env"]
    s._sizes()
    at(s, r["seq"] + 1, r["seq"] - 1)
    conn.send(BINARY, fixture(r["name"]))
    reply = s.take()
    if r["name"] == "step_result":
        assert (reply is s.usual) == (not info)
    c = s.columns(reply, r["type"], r["n"], r["steps"])
    assert s.ack == r["seq"]
    assert c.steps == r["steps"]
    assert bits(c.obs) == bits(r["obs"])
    assert bits(c.reward) == bits(r["reward"])
    assert c.terminated.astype(bool).tolist() == r["terminated"]
    assert c.truncated.astype(bool).tolist() == r["truncated"]
    for name, have in (("final_obs", c.final_obs), ("info", c.info)):
        assert (have is not None) == (name in r)
        if have is not None:
            assert bits(have) == bits(r[name])


def test_damaged_results(talk: Any) -> None:
    """A reply that is a byte short, or long, ends the session."""
    for name in ("step_result", "step_result_end"):
        for cut in (-1, 1):
            s, conn = talk(info=False)
            (r,) = (r for r in BINARIES["results"] if r["name"] == name)
            at(s, r["seq"] + 1, r["seq"] - 1)
            conn.send(BINARY, fixture(name)[:cut] if cut < 0 else fixture(name) + b"\0")
            with pytest.raises(planegym.ProtocolError):
                s.columns(s.take(), r["type"], r["n"])
            assert not s.alive


def test_made() -> None:
    (made,) = TEXTS["made"]
    obs = observation_space(made)
    assert obs.shape == (2,)
    assert obs.low.tolist() == [np.float32(-4.8), -math.inf]
    assert action_space(made).nvec.tolist() == [2, 2]


def test_what_the_client_says(talk: Any) -> None:
    """Its text messages have the keys of the golden ones, and no others."""
    s, conn = talk()
    hello, make = conn.said
    assert hello.keys() == TEXTS["hello"][0].keys()
    assert make == {**TEXTS["make"][0], "id": 1}
    fields = {
        "state": {"rows": [0]},
        "set_state": {"rows": [0], "states": ["AAECAw=="]},
    }
    for kind, reply in (("state", "state_result"), ("set_state", "state_set")):
        (want,), (answer,) = TEXTS[kind], TEXTS[reply]
        at(s, want["id"], want["ack"])
        conn.send(TEXT, json.dumps(answer).encode())
        assert s.request(kind, reply, env=1, **fields[kind]) == answer
    s.close()
    kinds = [json.loads(m) for op, m in conn.heard if op == TEXT]
    assert kinds[0] == TEXTS["state"][0]
    assert kinds[1] == TEXTS["set_state"][0]
    assert kinds[2].keys() == TEXTS["close"][1].keys()
    resume = json.loads(s._greeting(type="resume", token="secret", last_seq=17))
    assert resume.keys() == TEXTS["resume"][0].keys() - {"ticket"}  # a browser's


def test_errors_and_events(talk: Any) -> None:
    """Events are passed over; an error is raised as its class, with its fields."""
    s, conn = talk()
    at(s, 4, 2)
    for message in [*TEXTS["event"], *TEXTS["pong"], TEXTS["error"][0]]:
        conn.send(TEXT, json.dumps(message).encode())
    with pytest.raises(planegym.InvalidActionError, match="row 1: invalid action") as e:
        s.take()
    assert e.value.row == 1
    draining = TEXTS["error"][1]
    assert isinstance(from_code(draining["code"], draining["message"]), planegym.DrainingError)
