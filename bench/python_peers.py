"""Servers in the shape of others, for python_step.py: they answer at once with
observations of CartPole's size and step nothing, so what is measured is the way
there and back. Prints its port.

    python bench/python_peers.py grpc|fastapi
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import numpy as np


def grpc() -> None:
    """dm_env_rpc's own messages: one stream, a request and a response a step."""
    import grpc
    from dm_env_rpc.v1 import dm_env_rpc_pb2 as pb
    from dm_env_rpc.v1 import dm_env_rpc_pb2_grpc as service
    from dm_env_rpc.v1 import tensor_utils

    class Servicer(service.EnvironmentServicer):
        def Process(  # noqa: N802 (gRPC's name)
            self, request_iterator: Iterator[Any], context: Any
        ) -> Iterator[Any]:
            for request in request_iterator:
                actions = tensor_utils.unpack_tensor(request.step.actions[1])
                n = actions.size
                step = pb.StepResponse(state=pb.RUNNING)
                step.observations[1].CopyFrom(
                    tensor_utils.pack_tensor(np.zeros((n, 4), np.float32))
                )
                step.observations[2].CopyFrom(tensor_utils.pack_tensor(np.zeros(n, np.float32)))
                yield pb.EnvironmentResponse(step=step)

    server = grpc.server(futures.ThreadPoolExecutor(8))
    service.add_EnvironmentServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


def fastapi() -> None:
    """OpenEnv's routes: POST /step of JSON, checked by pydantic."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Step(BaseModel):
        action: dict[str, Any]
        timeout_s: float | None = None

    class Stepped(BaseModel):
        observation: dict[str, Any]
        reward: list[float]
        done: list[bool]

    app = FastAPI()

    def step(request: Step) -> Stepped:
        n = len(request.action["actions"])
        return Stepped(
            observation={"obs": np.zeros((n, 4)).tolist()}, reward=[0.0] * n, done=[False] * n
        )

    # Annotations are strings here, which FastAPI cannot look up in a function.
    step.__annotations__ = {"request": Step, "return": Stepped}
    app.post("/step")(step)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("grpc", "fastapi"))
    {"grpc": grpc, "fastapi": fastapi}[parser.parse_args().kind]()


if __name__ == "__main__":
    main()
