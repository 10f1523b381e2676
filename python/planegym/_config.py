"""From the arguments that users give to a session's Config."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypedDict

from ._session import Config
from ._ws import DEFAULT_PORT

DEFAULT_URL = f"ws://127.0.0.1:{DEFAULT_PORT}"
DEFAULT_SCENARIO = "synthetic"


class Options(TypedDict, total=False):
    """The keyword arguments that every environment class takes.

    Attributes:
        model: name of the model the scenario acts on; "" is the scenario's own.
        record: ask the server to record the episodes.
        kwargs: arguments of the scenario.
        token: the server's bearer token; default PLANEGYM_TOKEN.
        timeout: seconds to wait for a reply; None is for ever.
        reconnect: seconds to try to resume after the connection broke; 0 is not at all.
        info: ask for what the observation leaves out, in the info dict.
        ca: file of the certificate authority of a wss:// server.
        cert: client certificate file, or (certificate, key), for mTLS.
    """

    model: str
    record: bool
    kwargs: Mapping[str, Any] | None
    token: str | None
    timeout: float | None
    reconnect: float
    info: bool
    ca: str | None
    cert: str | tuple[str, str] | None


def config(
    url: str | None, scenario: str | None, num_envs: int, autoreset: str, options: Options
) -> Config:
    """Fill in what was left out: PLANEGYM_URL, PLANEGYM_TOKEN, defaults."""
    given: dict[str, Any] = dict(options)
    unknown = given.keys() - Options.__annotations__.keys()
    if unknown:
        raise TypeError(
            f"unknown argument {sorted(unknown)[0]!r}: the scenario's own go into kwargs={{…}}; "
            f"known are {', '.join(Options.__annotations__)}"
        )
    given["kwargs"] = dict(given.get("kwargs") or {})
    if given.get("token") is None:
        given["token"] = os.environ.get("PLANEGYM_TOKEN") or None
    return Config(
        url=url or os.environ.get("PLANEGYM_URL") or DEFAULT_URL,
        scenario=scenario or DEFAULT_SCENARIO,
        num_envs=num_envs,
        autoreset=autoreset,
        **given,
    )
