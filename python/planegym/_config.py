"""From the arguments that users give to a session's Config, and to a spec."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from ._session import Config, log
from ._ws import DEFAULT_PORT
from .ids import ANY, IDS, STEPS

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

DEFAULT_URL = f"ws://127.0.0.1:{DEFAULT_PORT}"
DEFAULT_SCENARIO = "closed-loop"
RENDER_MODES = ("rgb_array", "human", "ansi")


class Options(TypedDict, total=False):
    """The keyword arguments that every environment class takes.

    Attributes:
        model: name of the model the scenario acts on; "" is the scenario's own.
        record: ask the server to record the episodes.
        kwargs: arguments of the scenario.
        token: the server's bearer token; default PLANEGYM_TOKEN. Pickles and
            specs leave it out.
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
        # Python's own words: libraries look for them to learn what a maker takes.
        raise TypeError(
            f"__init__() got an unexpected keyword argument {sorted(unknown)[0]!r}; the "
            f"scenario's own go into kwargs={{…}}; known are {', '.join(Options.__annotations__)}"
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


class Described:
    """The spec of an environment, from Gymnasium or planegym.make, as either made it."""

    _spec: EnvSpec | None = None
    _own = True  # Gymnasium sets its own

    def _describe(self, scenario: str | None, **given: Any) -> None:
        """Make the spec of what __init__ was given, but for the token."""
        from gymnasium.envs.registration import EnvSpec

        scenario = scenario or DEFAULT_SCENARIO
        by_scenario = {s: i for i, s in IDS.items()}
        kwargs = {k: v for k, v in given.items() if v is not None and k != "token"}
        self._spec = EnvSpec(
            by_scenario.get(scenario, f"planegym/{ANY}"),
            entry_point="planegym.env:Env",
            vector_entry_point="planegym.vector:VectorEnv",
            max_episode_steps=None if given.get("kwargs") else STEPS.get(scenario),
            order_enforce=False,
            disable_env_checker=True,
            kwargs={"scenario": scenario, **copy.deepcopy(kwargs)},
        )

    def _made(self, made: dict[str, Any]) -> None:
        """Compare the spec with what the server says of an episode's length."""
        spec, limit = self._spec, made.get("max_steps") or None
        if spec is None:
            return
        if self._own:
            spec.max_episode_steps = limit
        elif STEPS.get(IDS.get(spec.id, ""), limit) != limit:
            log.warning(
                "%s is registered with %s steps an episode, and this one has %s: give "
                "gymnasium.make max_episode_steps=%s, or its TimeLimit ends episodes at %s",
                spec.id, STEPS[IDS[spec.id]], limit or "no bound", limit or -1, STEPS[IDS[spec.id]],
            )  # fmt: skip

    @property
    def spec(self) -> EnvSpec | None:
        """Gymnasium's spec: gymnasium.make(env.spec) makes an equal environment.
        max_episode_steps is the server's once connected."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None and "token" in spec.kwargs:
            spec = copy.deepcopy(spec)
            del spec.kwargs["token"]
        self._spec, self._own = spec, False


def render_mode(mode: str | None, info: bool) -> str | None:
    """Check a render_mode."""
    if mode is not None and mode not in RENDER_MODES:
        raise ValueError(f"render_mode: {mode!r} is not one of {', '.join(RENDER_MODES)}")
    if mode is not None and not info:
        raise ValueError("render_mode draws the infos: leave out info=False")
    return mode
