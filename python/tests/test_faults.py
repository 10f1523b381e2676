"""What goes wrong between client and server, and what the client makes of it."""

from __future__ import annotations

import json
import random
import signal
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import planegym
from fake import BINARY, CLOSE, TEXT, Conn, Counter, Fake, frame
from planegym.errors import from_code


def make(url: str, **options: Any) -> planegym.Env:
    return planegym.make(url, "cartpole", **{"timeout": 30.0, "reconnect": 20.0, **options})


def play(env: planegym.Env, steps: int) -> list[Any]:
    """A run of some episodes: all that was seen."""
    seen = [env.reset(seed=1)[0].tolist()]
    for i in range(steps):
        obs, reward, terminated, truncated, _ = env.step(i % 5)
        seen.append((obs.tolist(), reward, terminated, truncated))
        if terminated:
            seen.append(env.reset()[0].tolist())
    return seen


# --- before the first step


def test_server_not_running() -> None:
    with pytest.raises(planegym.ServerNotRunningError, match="planegym serve") as e:
        make("ws://127.0.0.1:9").reset()
    assert isinstance(e.value, ConnectionError)
    assert "127.0.0.1:9" in str(e.value)


def test_no_such_socket() -> None:
    with pytest.raises(planegym.ServerNotRunningError, match="planegym serve"):
        make("unix:///no/such/socket").reset()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", planegym.ProtocolError, "404"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", planegym.ProtocolError, "not a planegym"),
        (b"220 smtp ready\r\n", planegym.ProtocolError, "HTTP"),
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", planegym.UnauthorizedError, "TOKEN"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", planegym.UnauthorizedError, "token="),
    ],
)
def test_other_servers(fake: Fake, answer: bytes, error: type[Exception], words: str) -> None:
    fake.upgrade = answer
    with pytest.raises(error, match=words):
        make(fake.url).reset()


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, "bad_version", "one release"),
        (401, "unauthorized", "PLANEGYM_TOKEN"),
        (503, "capacity", "Close environments"),
        (503, "draining", "another server"),
    ],
)
def test_refused_upgrade(fake: Fake, status: int, code: str, words: str) -> None:
    body = json.dumps(
        {"type": "error", "id": 0, "code": code, "message": "so it is", "retry_ms": 1000}
    ).encode()
    fake.upgrade = f"HTTP/1.1 {status} Some\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with pytest.raises(planegym.PlanegymError, match=words) as e:
        make(fake.url, token="hidden").reset()
    assert (e.value.code, e.value.retry_ms) == (code, 1000)
    assert "so it is" in str(e.value)
    assert "hidden" not in str(e.value)
    assert "Authorization: Bearer hidden\r\n" in fake.requests[0]


def test_wrong_version_in_welcome(fake: Fake) -> None:
    def handler(c: Conn) -> None:
        m = c.json()
        assert (m["type"], m["version"]) == ("hello", 1)
        c.say("welcome", id=0, versions=[2, 3], server="planegym/9")
        c.message()

    fake.handlers = [handler]
    with pytest.raises(planegym.BadVersionError, match=r"planegym/9.*\[2, 3\].*speaks 1.*release"):
        make(fake.url).reset()


def test_refused_hello(fake: Fake) -> None:
    fake.handlers = [
        lambda c: c.say(
            "error", id=c.json()["id"], code="bad_version", message="I speak 2", fatal=True
        )
    ]
    with pytest.raises(planegym.BadVersionError, match="I speak 2"):
        make(fake.url).reset()


def test_wrong_subprotocol(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real server's answer to a client of another time."""
    monkeypatch.setattr("planegym._session.SUBPROTOCOL", "planegym.v9")
    with pytest.raises(planegym.BadVersionError, match=r"planegym\.v1"):
        make(url).reset()


def test_wrong_version(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planegym._session.VERSION", 9)
    with pytest.raises(planegym.BadVersionError, match="9"):
        make(url).reset()


def test_silent_server(fake: Fake) -> None:
    fake.handlers = [lambda c: c.message() and c.message()]
    begin = time.monotonic()
    with pytest.raises(planegym.ServerNotRunningError, match="does not answer"):
        make(fake.url, timeout=0.1).reset()
    assert time.monotonic() - begin < 10


# --- while it runs


def test_killed_mid_episode(binary: str) -> None:
    """The message says what to do, and doing it works."""
    with planegym.launch(binary=binary) as server:
        env = make(server.url, reconnect=0.2)
        env.reset(seed=1)
        env.step(0)
        server.process.kill()
        server.process.wait()
        with pytest.raises(planegym.SessionLostError, match=r"reset\(\)") as e:
            for _ in range(3):
                env.step(0)
        assert isinstance(e.value, ConnectionError)
        with pytest.raises(planegym.SessionLostError, match=r"reset\(\)"):
            env.step(0)
        with pytest.raises(planegym.ServerNotRunningError, match="planegym serve"):
            env.reset()
        port = server.url.rsplit(":", 1)[1].split("/")[0]
        with planegym.launch(binary=binary, args=["--addr", f"127.0.0.1:{port}"]):
            env.reset(seed=1)
            env.step(0)
            env.close()


def test_terminated_server(binary: str) -> None:
    with planegym.launch(binary=binary) as server:
        env = planegym.VectorEnv(server.url, "cartpole", 4, reconnect=0.2)
        env.reset(seed=1)
        server.close()
        with pytest.raises(planegym.SessionLostError, match=r"reset\(\)"):
            env.step(np.zeros(4, int))
        env.close()


def test_lost_without_resume(fake: Fake) -> None:
    """A server that cannot resume: the episode is lost at once, and the next
    reset is a new session with a new seed."""
    first, second = Counter(resume=False), Counter(resume=False)
    first.on_request = lambda conn, seq: seq < 5
    fake.handlers = [first, second]
    env = make(fake.url)
    env.reset()
    env.step(1)
    env.step(1)
    with pytest.raises(planegym.SessionLostError, match=r"reset\(\)"):
        env.step(1)
    env.reset()
    assert env.step(2)[0].tolist() == [0, 1, 2]
    env.close()


@pytest.mark.parametrize("seed", range(8))
def test_resume(fake: Fake, seed: int) -> None:
    """Cuts before the request, before the reply, or within either: what the
    caller sees is what an unbroken run shows, and no step happens twice."""
    chance = random.Random(seed)
    whole, cut = Counter(), Counter()
    with Fake() as other:
        other.handlers = [whole]
        env = make(other.url)
        expected = play(env, 200)
        env.close()

    cuts = 0

    def before(conn: Conn, seq: int) -> bool:
        nonlocal cuts
        if seq > 1 and chance.random() < 0.1:
            cuts += 1
            return False
        return True

    def after(conn: Conn, seq: int) -> bool:
        nonlocal cuts
        if seq > 1 and chance.random() < 0.1:
            cuts += 1
            conn.raw(frame(*cut.replies[seq])[: chance.randrange(60)])
            return False
        return True

    cut.on_request, cut.on_reply = before, after
    fake.handlers = [cut]
    env = make(fake.url)
    assert play(env, 200) == expected
    assert cut.executed == whole.executed == 200
    assert cuts > 10
    env.close()


@pytest.mark.parametrize("seed", range(4))
def test_resume_a_pipeline(fake: Fake, seed: int) -> None:
    """Cuts with many requests in flight."""
    chance = random.Random(seed)
    counter = Counter(length=10**9)
    counter.on_request = lambda conn, seq: seq == 1 or chance.random() > 0.05
    counter.on_reply = lambda conn, seq: seq == 1 or chance.random() > 0.05
    fake.handlers = [counter]
    env = planegym.VectorEnv(fake.url, "x", 3, reconnect=20.0)
    env.reset(seed=1)
    sent, got, sums = 0, 0, [0, 0, 0]
    while got < 300:
        while sent < 300 and sent - got < chance.randrange(1, 30):
            env.send(np.array([sent % 5, (sent + 1) % 5]), [sent % 3, (sent + 1) % 3])
            sent += 1
        if got < sent:
            r = env.recv()
            for j in (0, 1):
                sums[(got + j) % 3] += (got + j) % 5
            assert r.rows.tolist() == [got % 3, (got + 1) % 3]
            assert r.obs[:, 2].tolist() == [sums[got % 3], sums[(got + 1) % 3]]
            got += 1
    assert counter.executed == 300
    env.close()


def test_resume_gives_up(fake: Fake) -> None:
    counter = Counter()
    counter.on_request = lambda conn, seq: seq < 4
    fake.handlers = [counter, lambda c: None]
    env = make(fake.url, reconnect=1.5)
    env.reset(seed=1)
    env.step(0)
    begin = time.monotonic()
    with pytest.raises(planegym.SessionLostError, match=r"not resumed in 1.5 s.*reset\(\)"):
        env.step(0)
    assert 1.4 < time.monotonic() - begin < 20
    assert fake.accepted > 2
    env.close()


def test_resume_refused(fake: Fake) -> None:
    """The server no longer has the session: no second try."""
    counter = Counter()
    counter.on_request = lambda conn, seq: seq < 4

    def refuse(c: Conn) -> None:
        assert c.json()["type"] == "resume"
        c.say("error", id=0, code="session_lost", message="no such session", fatal=True)

    fake.handlers = [counter, refuse]
    env = make(fake.url, reconnect=30)
    env.reset(seed=1)
    env.step(0)
    with pytest.raises(planegym.SessionLostError, match="no such session"):
        env.step(0)
    assert fake.accepted == 2
    env.close()


def test_resume_when_busy(fake: Fake) -> None:
    """The server has not noticed yet that the old connection is gone."""
    counter = Counter()
    cut = iter([True])
    counter.on_request = lambda conn, seq: seq < 4 or not next(cut, False)

    def busy(c: Conn) -> None:
        c.json()
        c.say("error", id=0, code="session_busy", message="wait", fatal=True, retry_ms=20)

    fake.handlers = [counter, busy, busy, counter]
    env = make(fake.url)
    env.reset(seed=1)
    env.step(2)
    assert env.step(3)[0].tolist() == [0, 2, 5]
    assert fake.accepted == 4
    env.close()


@pytest.mark.parametrize("code", [4500, 4504])
def test_final_close_codes(fake: Fake, code: int) -> None:
    """After 4500 to 4999 the client does not retry."""
    counter = Counter()

    def close(conn: Conn, seq: int) -> bool:
        if seq == 4:
            conn.send(CLOSE, struct.pack(">H", code) + b"enough")
        return seq < 4

    counter.on_request = close
    fake.handlers = [counter]
    env = make(fake.url, reconnect=30)
    env.reset(seed=1)
    env.step(0)
    with pytest.raises(planegym.SessionLostError, match=f"{code}: enough"):
        env.step(0)
    assert fake.accepted == 1
    env.close()


def test_timeout_of_a_step(fake: Fake) -> None:
    """A late reply is never taken for that of a later request."""
    counter = Counter()
    gate = threading.Event()

    def late(conn: Conn, seq: int) -> bool:
        if seq == 4:
            gate.wait(60)
        return True

    counter.on_reply = late
    fake.handlers = [counter]
    env = make(fake.url, timeout=20.0)
    env.reset(seed=1)
    env.step(1)
    env._remote.current().ws.settimeout(0.1)
    with pytest.raises(planegym.ReplyTimeoutError, match=r"reset\(\)") as e:
        env.step(2)
    assert isinstance(e.value, TimeoutError)
    for _ in range(2):
        with pytest.raises(planegym.ResetRequiredError, match="outcome is unknown"):
            env.step(3)
    threading.Timer(0.05, gate.set).start()
    env._remote.current().ws.settimeout(20)
    assert env.reset()[0].tolist() == [0, 0, 0]
    assert env.step(4)[0].tolist() == [0, 1, 4]
    env.close()


def test_timeout_of_step_wait(fake: Fake) -> None:
    counter = Counter(length=10**9)
    gate = threading.Semaphore(0)
    counter.on_reply = lambda conn, seq: not 3 <= seq <= 7 or gate.acquire(timeout=60)
    fake.handlers = [counter]
    env = planegym.VectorEnv(fake.url, "x", 2, timeout=20)
    env.reset(seed=1)
    for i in range(5):
        env.step_async(np.array([i, 0]))
        for _ in range(3):
            with pytest.raises(planegym.ReplyTimeoutError, match="step_wait"):
                env.step_wait(timeout=0.01)
        gate.release()
        assert env.step_wait()[0][0].tolist() == [0, i + 1, sum(range(i + 1))]
    env.close()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell starts what runs in the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c(fake: Fake) -> None:
    """Interrupted while it waits, the environment needs a reset and is well."""
    counter = Counter()
    gate = threading.Event()
    counter.on_reply = lambda conn, seq: seq != 4 or gate.wait(5)
    fake.handlers = [counter]
    env = make(fake.url)
    env.reset(seed=1)
    env.step(1)

    def interrupt() -> None:
        time.sleep(0.1)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        gate.set()

    t = threading.Thread(target=interrupt)
    t.start()
    with pytest.raises(KeyboardInterrupt):
        env.step(2)
    t.join()
    with pytest.raises(planegym.ResetRequiredError):
        env.step(2)
    assert env.reset()[0].tolist() == [0, 0, 0]
    assert env.step(3)[0].tolist() == [0, 1, 3]
    assert counter.executed == 3
    env.close()


def test_keepalive(fake: Fake) -> None:
    """A learner that computes for long does not lose its session."""
    counter = Counter()
    seen = []

    class Listening(Conn):
        def frame(self) -> tuple[int, bytes]:
            f = super().frame()
            seen.append(f[0])
            return f

    def handler(c: Conn) -> None:
        c.__class__ = Listening
        counter(c)

    fake.handlers = [handler]
    env = make(fake.url)
    # Greet first, then ask for bytes every 20 ms.
    original = planegym._session.Session._hello

    def hello(self: Any, ws: Any) -> None:
        original(self, ws)
        self.keep_every = 0.02

    planegym._session.Session._hello = hello  # type: ignore[method-assign]
    try:
        env.reset(seed=1)
    finally:
        planegym._session.Session._hello = original  # type: ignore[method-assign]
    while seen.count(10) < 3:
        time.sleep(0.01)
    assert env.step(3)[0].tolist() == [0, 1, 3]
    threads = [t for t in threading.enumerate() if t.name == "planegym-keepalive"]
    assert threads
    env.close()
    for t in threads:
        t.join(5)
    assert not any(t.is_alive() for t in threads)


# --- what no server should say

WELCOME = {"versions": [1], "limits": {}, "resume_token": "", "server": "fake/1"}


def wrong(
    seq: int, body: bytes, *, kind: int = 2, n: int = 1, flags: int = 0, **other: int
) -> bytes:
    head = struct.pack(
        "<BBHIIIQ",
        other.get("version", 1),
        kind,
        flags,
        other.get("env", 1),
        n,
        other.get("aux", 0),
        seq,
    )
    return frame(BINARY, head + body)


ROW = struct.pack("<4f", 1, 2, 3, 1) + bytes(8)  # a step's row of Counter's shape

MALFORMED: dict[str, bytes] = {
    "empty": frame(BINARY),
    "short header": frame(BINARY, bytes(23)),
    "version 2": wrong(3, ROW, version=2),
    "other env": wrong(3, ROW, env=2),
    "reply from the future": wrong(4, ROW),
    "wrong type": wrong(3, ROW, kind=4),
    "unknown type": wrong(3, ROW, kind=77),
    "a request": wrong(3, ROW, kind=1),
    "many": wrong(3, struct.pack("<II", 1, 0) + ROW, kind=6),
    "two rows": wrong(3, ROW, n=2),
    "no rows": wrong(3, b"", n=0),
    "2**32-1 rows": wrong(3, ROW, n=2**32 - 1),
    "no body": wrong(3, b""),
    "four bytes missing": wrong(3, ROW[:-4]),
    "four bytes more": wrong(3, ROW + bytes(4)),
    "final_obs announced": wrong(3, ROW, flags=8, aux=12),
    "final_obs without aux": wrong(3, ROW + bytes(12), flags=8),
    "info announced": wrong(3, ROW, flags=2, aux=4),
    "aux for nothing": wrong(3, ROW + bytes(4), aux=4),
    "no JSON": frame(TEXT, b"{"),
    "JSON of another kind": frame(TEXT, b"[1]"),
    "no type": frame(TEXT, b'{"id":3}'),
    "deep JSON": frame(TEXT, b"[" * 100_000),
    "id of another kind": frame(TEXT, b'{"type":"step_result","id":"3"}'),
    "id from the future": frame(TEXT, b'{"type":"error","id":9,"code":"x"}'),
    "no UTF-8": frame(TEXT, b"\xff\xff"),
    "text in place of binary": frame(TEXT, b'{"type":"pang","id":3}'),
    "masked": b"\x82\x80abcd",
    "reserved": b"\xf2\x00",
    "fragment of nothing": frame(0, b"x"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(fake: Fake, name: str) -> None:
    """It is a ProtocolError at once, and a reset starts over."""
    bad = Counter(resume=False)

    def spoil(conn: Conn, seq: int) -> bool:
        if seq == 3:
            conn.raw(MALFORMED[name])
            conn.message()
        return True

    bad.on_reply = spoil
    fake.handlers = [bad, Counter(resume=False)]
    env = make(fake.url)
    env.reset(seed=1)
    with pytest.raises(planegym.ProtocolError):
        env.step(0)
    with pytest.raises(planegym.PlanegymError, match=r"reset\(\)"):
        env.step(0)
    env.reset(seed=1)
    assert env.step(2)[0].tolist() == [0, 1, 2]
    env.close()


@pytest.mark.parametrize("seed", range(60))
def test_random_replies(fake: Fake, seed: int) -> None:
    """Flipped, cut and made-up bytes: an error of ours or, where the flip hit
    a value, another value; never another exception, never a wait."""
    chance = random.Random(seed)
    bad = Counter(resume=False)

    def spoil(conn: Conn, seq: int) -> bool:
        if seq < 3:
            return True
        data = bytearray(frame(*bad.replies[seq]))
        for _ in range(chance.randrange(1, 4)):
            what = chance.randrange(3)
            if what == 0:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            elif what == 1:
                del data[chance.randrange(len(data)) :]
                data += b"\0"
            else:
                at = chance.randrange(len(data))
                data[at:at] = chance.randbytes(chance.randrange(1, 9))
        conn.raw(bytes(data))
        return False

    bad.on_reply = spoil
    fake.handlers = [bad]
    env = make(fake.url)
    env.reset(seed=1)
    env._remote.current().ws.settimeout(0.5)
    for _ in range(3):
        try:
            env.step(0)
        except planegym.PlanegymError:
            break
    env.close()


@pytest.mark.parametrize("seed", range(40))
def test_random_text(fake: Fake, seed: int) -> None:
    """Made messages with keys missing or of another kind: ours, or it works."""
    chance = random.Random(seed)
    odd: list[Any] = [None, -1, 1.5, "x", [], {}, [None], True, 10**30]
    bad = Counter(resume=False)
    plain = bad.text

    def spoil(m: dict[str, Any]) -> tuple[int, bytes]:
        opcode, text = plain(m)
        reply = json.loads(text)
        at = chance.choice([reply, reply.get("observation_space"), reply.get("action_space")])
        key = chance.choice(sorted(at))
        if chance.random() < 0.3:
            del at[key]
        else:
            at[key] = chance.choice(odd)
        return opcode, json.dumps(reply).encode()

    bad.text = spoil  # type: ignore[method-assign]
    fake.handlers = [bad]
    env = make(fake.url, timeout=0.3)
    try:
        env.reset(seed=1)
        assert env.observation_space.shape == (3,)
        env.step(0)
    except planegym.PlanegymError:
        pass
    env.close()
    fake.errors.clear()  # the fake is no judge of what it spoilt


def test_unknown_event_and_code(fake: Fake) -> None:
    """A newer server says more: events are ignored, codes are reported."""
    counter = Counter()

    def more(conn: Conn, seq: int) -> bool:
        conn.say("event", event="moon", phase="full")
        conn.say("pong", id=4)
        if seq == 4:
            counter.replies[seq] = (TEXT, b'{"type":"error","id":4,"code":"new","message":"hm"}')
            conn.send(*counter.replies[seq])
        return True

    counter.on_reply = more
    fake.handlers = [counter]
    env = make(fake.url)
    env.reset(seed=1)
    env.step(0)
    with pytest.raises(planegym.PlanegymError, match="hm") as e:
        env.step(0)
    assert e.value.code == "new"
    env.close()


def test_server_error_with_row() -> None:
    e = from_code("invalid_action", "row 3: 7 is not in [0, 2)", row=3)
    assert isinstance(e, planegym.InvalidActionError)
    assert isinstance(e, ValueError)
    assert e.row == 3
