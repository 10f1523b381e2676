"""Steps per second of the Python client, beside its peers, on this machine.

Every kind steps CartPole with the same batch: planegym over a socket on
loopback; raw TCP that exchanges as many bytes with another Python process,
which no protocol can beat; other WebSocket libraries that speak planegym.v1 to
the same server; servers in the shape of dm_env_rpc (gRPC) and OpenEnv (FastAPI),
which step nothing; Gymnasium and EnvPool in process. Kinds take turns within a
round, every figure is the median over rounds. Read the ratios: they hold across
machines, times do not. Beside the medians stands the best round's p50: on a busy
machine, where turns of others fall into most calls, only that says much. Kinds
whose package is missing are left out by name.

    pip install ./python -r bench/requirements.txt
    python bench/python_step.py [--json] [--rounds 7] [--seconds 0.3] [--url ws://…]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import platform
import queue
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import planegym

Call = Callable[[], Any]
Kind = Callable[[int, str], AbstractContextManager[Call]]
HEADER = struct.Struct("<BBHIIIQQ")  # of a STEP, with ack
BATCHES = (1, 256, 1024)
ASYNC_ENVS = 16  # a process each: 256 would measure the scheduler


def sizes(n: int) -> tuple[int, int]:
    """Bytes of a CartPole step and of its reply, WebSocket framing included."""

    def framed(payload: int, mask: int) -> int:
        return payload + mask + (2 if payload < 126 else 4 if payload < 1 << 16 else 10)

    return framed(32 + 4 * n, 4), framed(24 + 20 * n + 2 * (n + 3 & ~3), 0)


def pong(listener: socket.socket, request: int, reply: int) -> None:
    """The other end of raw TCP."""
    sock, _ = listener.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answer, buf = bytes(reply), memoryview(bytearray(request))
    while True:
        got = 0
        while got < request:
            part = sock.recv_into(buf[got:])
            if part == 0:
                return
            got += part
        sock.sendall(answer)


@contextmanager
def raw_tcp(n: int, url: str) -> Iterator[Call]:
    request, reply = sizes(n)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        other = multiprocessing.get_context("fork").Process(
            target=pong, args=(listener, request, reply), daemon=True
        )
        other.start()
        address = listener.getsockname()
    with socket.create_connection(address) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        out, buf = bytes(request), memoryview(bytearray(reply))
        recv_into, sendall = sock.recv_into, sock.sendall

        def call() -> None:
            sendall(out)
            got = recv_into(buf)
            while got < reply:
                got += recv_into(buf[got:])

        yield call
    other.join()


@contextmanager
def client(n: int, url: str) -> Iterator[Call]:
    if n > 1:
        v = planegym.VectorEnv(url, "cartpole", n)
        v.reset(seed=1)
        actions = np.random.default_rng(1).integers(0, 2, n)
        yield lambda: v.step(actions)
        v.close()
        return
    env = planegym.make(url, "cartpole")
    env.reset(seed=1)
    action = 0

    def call() -> None:
        nonlocal action
        action ^= 1
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()

    yield call
    env.close()


@contextmanager
def unix(n: int, url: str) -> Iterator[Call]:
    with (
        tempfile.TemporaryDirectory() as folder,
        planegym.launch(args=["--unix", f"{folder}/socket"]) as server,
        client(n, server.url) as call,
    ):
        yield call


def speak(n: int, say: Callable[[Any], None], hear: Callable[[], Any]) -> Call:
    """planegym.v1 through another library: the same messages and decoding."""
    say('{"type":"hello","id":0,"client":"bench","version":1,"capabilities":[]}')
    hear()
    say(
        '{"type":"make","id":1,"ack":0,"scenario":"cartpole","autoreset":"next_step",'
        f'"num_envs":{n}}}'
    )
    env = json.loads(hear())["env"]
    say(f'{{"type":"reset","id":2,"ack":1,"env":{env},"seed":"1"}}')
    hear()
    actions = np.random.default_rng(1).integers(0, 2, n).astype("<i4").tobytes()
    seq = 2

    def call() -> Any:
        nonlocal seq
        seq += 1
        say(HEADER.pack(1, 1, 4, env, n, 0, seq, seq - 1) + actions)
        reply = hear()
        obs = np.frombuffer(reply, "<f4", 4 * n, 24).reshape(n, 4)
        reward = np.frombuffer(reply, "<f4", n, 24 + 16 * n)
        return obs, reward, reply[24 + 20 * n :]

    return call


@contextmanager
def websockets_sync(n: int, url: str) -> Iterator[Call]:
    from websockets.sync.client import connect

    with connect(url, subprotocols=["planegym.v1"], compression=None) as ws:
        yield speak(n, ws.send, ws.recv)


@contextmanager
def websockets_asyncio(n: int, url: str) -> Iterator[Call]:
    import asyncio

    from websockets.asyncio.client import connect

    async def open_() -> Any:
        return await connect(
            url, subprotocols=["planegym.v1"], compression=None, ping_interval=None
        )

    with asyncio.Runner() as loop:
        ws = loop.run(open_())
        call = speak(n, lambda m: loop.run(ws.send(m)), lambda: loop.run(ws.recv()))
        yield call
        loop.run(ws.close())


@contextmanager
def websocket_client(n: int, url: str) -> Iterator[Call]:
    import websocket

    options = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
    ws = websocket.create_connection(
        url, subprotocols=["planegym.v1"], sockopt=options, suppress_origin=True
    )

    def say(m: Any) -> None:
        ws.send(m) if isinstance(m, str) else ws.send_binary(m)

    yield speak(n, say, ws.recv)
    ws.close()


@contextmanager
def peer(kind: str) -> Iterator[int]:
    """The port of a server of python_peers.py."""
    command = [sys.executable, str(Path(__file__).with_name("python_peers.py")), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def dm_env_rpc(n: int, url: str) -> Iterator[Call]:
    import grpc
    from dm_env_rpc.v1 import dm_env_rpc_pb2 as pb
    from dm_env_rpc.v1 import dm_env_rpc_pb2_grpc as service
    from dm_env_rpc.v1 import tensor_utils

    actions = np.random.default_rng(1).integers(0, 2, n).astype(np.int32)
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with peer("grpc") as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        replies = service.EnvironmentStub(channel).Process(iter(requests.get, None))

        def call() -> Any:
            step = pb.StepRequest(requested_observations=[1, 2])
            step.actions[1].CopyFrom(tensor_utils.pack_tensor(actions))
            requests.put(pb.EnvironmentRequest(step=step))
            reply = next(replies).step
            return [tensor_utils.unpack_tensor(reply.observations[i]) for i in (1, 2)]

        yield call
        requests.put(None)


@contextmanager
def openenv(n: int, url: str) -> Iterator[Call]:
    import fastapi  # noqa: F401 (the server's)
    import requests

    actions = np.random.default_rng(1).integers(0, 2, n)
    with peer("fastapi") as port, requests.Session() as session:

        def call() -> Any:
            body = {"action": {"actions": actions.tolist()}}
            reply = session.post(f"http://127.0.0.1:{port}/step", json=body).json()
            return np.array(reply["observation"]["obs"], np.float32), np.array(reply["reward"])

        for _ in range(50):  # until it listens
            try:
                call()
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        yield call


@contextmanager
def gymnasium_sync(n: int, url: str) -> Iterator[Call]:
    import gymnasium

    v = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * n)
    v.reset(seed=1)
    actions = np.random.default_rng(1).integers(0, 2, n)
    yield lambda: v.step(actions)
    v.close()


@contextmanager
def gymnasium_async(n: int, url: str) -> Iterator[Call]:
    import gymnasium

    v = gymnasium.vector.AsyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * n)
    v.reset(seed=1)
    actions = np.random.default_rng(1).integers(0, 2, n)
    yield lambda: v.step(actions)
    v.close()


@contextmanager
def envpool(n: int, url: str) -> Iterator[Call]:
    import envpool

    v = envpool.make_gymnasium("CartPole-v1", num_envs=n, seed=1)
    v.reset()
    actions = np.random.default_rng(1).integers(0, 2, n).astype(np.int32)
    yield lambda: v.step(actions)
    v.close()


KINDS: list[tuple[str, Kind, tuple[int, ...]]] = [
    ("raw_tcp", raw_tcp, BATCHES),
    ("planegym", client, BATCHES),
    ("planegym_unix", unix, BATCHES),
    ("websockets_sync", websockets_sync, BATCHES),
    ("websockets_asyncio", websockets_asyncio, BATCHES),
    ("websocket_client", websocket_client, BATCHES),
    ("gymnasium_sync", gymnasium_sync, (1, 256)),
    ("gymnasium_async", gymnasium_async, (1, ASYNC_ENVS)),
    ("envpool", envpool, BATCHES),
    ("openenv", openenv, (1, 256)),
    ("dm_env_rpc", dm_env_rpc, BATCHES),  # last: nothing may fork beside gRPC's threads
]


# Opened anew in each round: between rounds no client would answer the server's pings.
ANEW = (websockets_sync, websockets_asyncio, websocket_client)


def measure(call: Call, seconds: float) -> list[float]:
    """How long each call took, in seconds."""
    for _ in range(2):
        call()
    took = []
    clock = time.perf_counter
    end = clock() + seconds
    last = clock()
    while last < end:
        call()
        now = clock()
        took.append(now - last)
        last = now
    return took


def machine() -> dict[str, str]:
    cpu = platform.machine()
    try:
        with open("/proc/cpuinfo") as f:
            cpu = next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = {"python": platform.python_version(), "system": platform.platform()}
    names = Path(__file__).with_name("requirements.txt").read_text().splitlines()[1:]
    for package in ("planegym", *(line.split("==")[0] for line in names)):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"cpu": cpu, "cores": str(os.cpu_count()), **versions}


def run(url: str, rounds: int, seconds: float) -> tuple[dict[str, float], dict[str, str]]:
    rates: dict[tuple[str, int], list[float]] = {}
    times: dict[tuple[str, int], list[float]] = {}
    left_out: dict[str, str] = {}
    with ExitStack() as stack:
        calls: dict[tuple[str, int], tuple[Call | None, Kind]] = {}
        for name, open_, batches in KINDS:
            for n in batches:
                try:
                    if open_ in ANEW:
                        with open_(n, url):
                            calls[name, n] = None, open_
                    else:
                        calls[name, n] = stack.enter_context(open_(n, url)), open_
                except (ImportError, planegym.LaunchError) as e:
                    left_out[name] = str(e).splitlines()[0]
        for i in range(rounds):
            for key, (call, open_) in calls.items():
                if call is None:
                    with open_(key[1], url) as fresh:
                        took = measure(fresh, seconds)
                else:
                    took = measure(call, seconds)
                rates.setdefault(key, []).append(key[1] * len(took) / sum(took))
                times.setdefault(key, []).append(statistics.median(took))
            print(f"round {i + 1} of {rounds}", file=sys.stderr)
    figures = {}
    for (name, n), values in rates.items():
        figures[f"{name}.n{n}.steps_per_s"] = statistics.median(values)
        figures[f"{name}.n{n}.p50_us"] = statistics.median(times[name, n]) * 1e6
        figures[f"{name}.n{n}.best_us"] = min(times[name, n]) * 1e6
    for n in BATCHES:  # within each round, for what disturbs one disturbs both
        ratios = [a / b for a, b in zip(times["raw_tcp", n], times["planegym", n], strict=True)]
        figures[f"planegym.n{n}.of_raw_tcp"] = statistics.median(ratios)
        figures[f"planegym.n{n}.best_of_raw_tcp"] = min(times["raw_tcp", n]) / min(
            times["planegym", n]
        )
    return figures, left_out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each kind in a round")
    parser.add_argument("--url", help="a server; default is one of its own")
    args = parser.parse_args()
    with ExitStack() as stack:
        url = args.url or stack.enter_context(planegym.launch()).url
        figures, left_out = run(url, args.rounds, args.seconds)
    about = machine()
    if args.json:
        out = {"machine": about, "rounds": args.rounds, "figures": figures, "left_out": left_out}
        print(json.dumps(out, indent=2))
        return
    print(", ".join(f"{k} {v}" for k, v in about.items()))
    print(f"{'kind':<20} {'rows':>5} {'p50 µs':>10} {'steps/s':>12} {'best p50 µs':>12}")
    for name, _, batches in KINDS:
        for n in batches:
            if f"{name}.n{n}.p50_us" in figures:
                keys = ("p50_us", "steps_per_s", "best_us")
                p50, rate, best = (figures[f"{name}.n{n}.{k}"] for k in keys)
                print(f"{name:<20} {n:>5} {p50:>10.1f} {rate:>12,.0f} {best:>12.1f}")
    for n, want in zip(BATCHES, ("≥ 0.75", "≥ 0.6", ""), strict=True):
        ratio, best = (figures[f"planegym.n{n}.{k}of_raw_tcp"] for k in ("", "best_"))
        print(f"planegym of raw TCP by p50, {n} rows: {ratio:.2f}, best {best:.2f} {want}")
    for name, why in left_out.items():
        print(f"left out: {name}: {why}")


if __name__ == "__main__":
    main()
