"""A switch an agent: PettingZoo's parallel API for scenarios with an action a switch.

    from planegym.pettingzoo import ParallelEnv

    env = ParallelEnv(server.url, "per-switch", observe="own")
    observations, infos = env.reset(seed=1)
    actions = {agent: env.action_space(agent).sample() for agent in env.agents}
    observations, rewards, terminations, truncations, infos = env.step(actions)

The reward is the viewer's, so that all agents have the same one: it is a
cooperative game. It needs pettingzoo (`pip install pettingzoo`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

try:
    import pettingzoo
except ImportError as e:
    raise ImportError("planegym.pettingzoo needs PettingZoo: pip install pettingzoo") from e

from ._session import log
from .env import Env
from .masks import Rule

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._config import Options

OBSERVE = ("all", "own")


class ParallelEnv(pettingzoo.ParallelEnv):  # type: ignore[misc]
    """The agents switch_1 … switch_S of one environment.

    Args:
        url, scenario, render_mode, options: as of planegym.Env. The scenario must have
            an action for each switch, as per-switch has.
        observe: "all": every agent observes everything. "own": what its switch
            measured and did, and what belongs to no switch (the player).
        max_change, least, most: of the rule that infos' action_mask follows; see
            planegym.masks.Rule. A masked action is not refused.

    state() is the whole observation, whatever observe says.
    """

    def __init__(
        self,
        url: str | None = None,
        scenario: str | None = "per-switch",
        *,
        observe: str = "all",
        max_change: int | None = None,
        least: float | None = None,
        most: float | None = None,
        render_mode: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        if observe not in OBSERVE:
            raise ValueError(f"observe: {observe!r} is not one of {', '.join(OBSERVE)}")
        self.env = Env(url, scenario, render_mode=render_mode, **options)
        self.render_mode = render_mode
        self.metadata = {
            "name": f"planegym_{scenario}_v0", "is_parallelizable": True,
            "render_modes": list(Env.metadata["render_modes"]),
            "render_fps": Env.metadata["render_fps"],
        }  # fmt: skip
        made = self.env.made
        self._n = [int(v) for v in made["action_space"]["n"]]
        if len(self._n) < 2:
            self.env.close()
            raise ValueError(
                f"scenario {scenario!r} has one action for all switches; one with an action a "
                "switch is 'per-switch'"
            )
        self.possible_agents = [f"switch_{s + 1}" for s in range(len(self._n))]
        self.agents: list[str] = []
        self._rule = Rule(max_change, least, most)
        self._limits = self._rule.check(made, str(scenario))
        whole = self.env.observation_space
        assert isinstance(whole, gymnasium.spaces.Box)
        self.state_space = whole
        owners = [
            _owner(str(e["name"]), len(self._n)) for e in made["observation_space"]["elements"]
        ]
        self._columns: dict[str, np.ndarray] = {}
        self._observations: dict[str, gymnasium.spaces.Box] = {}
        self._actions: dict[str, gymnasium.spaces.Discrete] = {}
        for s, agent in enumerate(self.possible_agents):
            at = np.array([observe == "all" or o in (None, s) for o in owners]).nonzero()[0]
            self._columns[agent] = at
            self._observations[agent] = gymnasium.spaces.Box(
                whole.low[at], whole.high[at], dtype=np.float32
            )
            self._actions[agent] = gymnasium.spaces.Discrete(self._n[s])

    def observation_space(self, agent: str) -> gymnasium.spaces.Box:
        """Of an agent: always the same object."""
        return self._observations[agent]

    def action_space(self, agent: str) -> gymnasium.spaces.Discrete:
        """Of an agent: always the same object."""
        return self._actions[agent]

    def elements(self, agent: str) -> list[str]:
        """The names of what an agent observes."""
        names = self.env.made["observation_space"]["elements"]
        return [str(names[i]["name"]) for i in self._columns[agent]]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Start an episode; options as of planegym.Env.reset, but that those which the
        scenario does not have are logged and ignored: PettingZoo's tests give such."""
        known = self.env.made.get("reset_options") or {}
        if ignored := sorted((options or {}).keys() - known.keys()):
            log.warning("reset: options %s are ignored; known are %s", ignored, sorted(known))
        given = {k: v for k, v in (options or {}).items() if k in known}
        obs, info = self.env.reset(seed=seed, options=given or None)
        self.agents = list(self.possible_agents)
        self._state = obs
        return self._split(obs), self._infos(info)

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[
        dict[str, np.ndarray],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """One step of all agents; actions has one of each.

        Raises:
            KeyError: an action is missing, or of no agent.
        """
        if not self.agents:
            return {}, {}, {}, {}, {}
        if set(actions) != set(self.agents):
            odd = sorted(set(actions) ^ set(self.agents))
            raise KeyError(f"actions are of {sorted(actions)}, not of {self.agents}: see {odd}")
        chosen = [int(actions[agent]) for agent in self.agents]
        obs, reward, terminated, truncated, info = self.env.step(chosen)
        agents = self.agents
        self._state = obs
        if terminated or truncated:
            self.agents = []
        return (
            self._split(obs),
            dict.fromkeys(agents, reward),
            dict.fromkeys(agents, terminated),
            dict.fromkeys(agents, truncated),
            self._infos(info),
        )

    def state(self) -> np.ndarray:
        """The whole observation, f32 [D]."""
        return self._state

    def render(self) -> Any:
        """As of planegym.Env."""
        return self.env.render()

    def close(self) -> None:
        """End the session."""
        self.env.close()

    def _split(self, obs: np.ndarray) -> dict[str, np.ndarray]:
        return {agent: obs[self._columns[agent]] for agent in self.possible_agents}

    def _infos(self, info: dict[str, Any]) -> dict[str, dict[str, Any]]:
        if not info:
            return {agent: {} for agent in self.possible_agents}
        masks = self._rule.masks(self._limits, info, self._n)
        return {
            agent: {**info, "action_mask": mask.astype(np.int8)}
            for agent, mask in zip(self.possible_agents, masks, strict=True)
        }


def _owner(element: str, switches: int) -> int | None:
    """The switch, from 0, that an element's name numbers: enq_qdepth2_p95 is of 1."""
    found = re.search(r"(?<=[a-z])(\d+)(?=_|$)", element)
    if found is None or not 1 <= int(found[1]) <= switches:
        return None
    return int(found[1]) - 1
