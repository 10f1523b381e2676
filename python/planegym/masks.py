"""Which actions an agent may take now: planegym.ActionMask.

    env = planegym.ActionMask(planegym.make(url, "contended"), max_change=1)
    MaskablePPO("MlpPolicy", env)  # sb3-contrib asks action_masks()

Operators of switches rarely let a controller jump from the least limit to the
largest. A mask has an agent learn under the rule that it is deployed under.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import gymnasium
import numpy as np

from .env import Env
from .errors import InvalidActionError


class Rule:
    """Which actions are allowed, by the limits in force.

    Args:
        max_change: how many places in the list of limits an action may be away from
            the limit in force; None: any number.
        least, most: limits, in packets, that no action may leave.
    """

    def __init__(
        self, max_change: int | None = None, least: float | None = None, most: float | None = None
    ) -> None:
        if max_change is not None and max_change < 0:
            raise ValueError(f"max_change: {max_change} is negative")
        self.max_change = max_change
        self.least = -np.inf if least is None else least
        self.most = np.inf if most is None else most

    def check(self, made: Mapping[str, Any], scenario: str) -> np.ndarray:
        """The limits by action, packets; an error where the rule has no meaning."""
        limits = np.asarray(made.get("limits") or [], np.float64)
        names = {f["name"] for f in made.get("info_fields") or []}
        if len(limits) == 0 or "limit1" not in names:
            raise ValueError(
                f"scenario {scenario!r} sets no queue limits: no rule masks its actions"
            )
        if not ((limits >= self.least) & (limits <= self.most)).any():
            raise ValueError(
                f"no limit of scenario {scenario!r} is within {self.least} to {self.most} packets; "
                f"it has {limits.astype(int).tolist()}"
            )
        return limits

    def masks(self, limits: np.ndarray, info: Mapping[str, Any], n: list[int]) -> list[np.ndarray]:
        """Of each switch a mask [n], bool. Where the limit in force is outside least
        to most, max_change counts from the nearest one within."""
        out = []
        for s, actions in enumerate(n):
            within = (limits >= self.least) & (limits <= self.most)
            if self.max_change is not None:
                places = np.argsort(np.argsort(limits))  # of an action in the order of limits
                allowed = np.flatnonzero(within)
                force = int(np.abs(limits - float(info[f"limit{s + 1}"])).argmin())
                near = np.abs(places - places[force])
                if not within[force]:
                    near = near - near[allowed].min()
                within &= near <= self.max_change
            out.append(within[:actions])
        return out


class ActionMask(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A planegym.Env that says which actions are allowed, and refuses the others.

    action_masks() is what sb3-contrib's MaskablePPO asks: bool [n], the masks of S
    switches one after the other. info["action_mask"] has the same as int8 for
    Gymnasium's `action_space.sample(mask)`: [n], or a tuple of S.

    Raises:
        ValueError: the scenario sets no limits, or the rule allows none of them.
        InvalidActionError: of step, where the action is masked; nothing was stepped.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        *,
        max_change: int | None = None,
        least: float | None = None,
        most: float | None = None,
    ) -> None:
        super().__init__(env)
        inner = env.unwrapped
        if not isinstance(inner, Env):
            raise TypeError(f"env: {inner!r} is not a planegym.Env")
        self.rule = Rule(max_change, least, most)
        self._limits = self.rule.check(inner.made, inner.made.get("scenario", ""))
        self._n = [int(v) for v in inner.made["action_space"]["n"]]
        self._masks = [np.ones(n, np.bool_) for n in self._n]

    def action_masks(self) -> np.ndarray:
        """Bool [n], or [n·S] of S switches, for the next step."""
        return np.concatenate(self._masks)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        return obs, self._mask(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        chosen = np.ravel(action)
        if chosen.shape == (len(self._n),):
            for s, (a, mask) in enumerate(zip(chosen, self._masks, strict=True)):
                if 0 <= a < len(mask) and a == int(a) and not mask[int(a)]:
                    raise InvalidActionError(
                        f"action {int(a)} of switch {s + 1} is masked: allowed are "
                        f"{np.flatnonzero(mask).tolist()}"
                    )
        obs, reward, terminated, truncated, info = self.env.step(action)
        return obs, reward, terminated, truncated, self._mask(info)

    def _mask(self, info: dict[str, Any]) -> dict[str, Any]:
        if not info:
            raise ValueError(
                "ActionMask reads the limits in force from the infos: leave out info=False"
            )
        self._masks = self.rule.masks(self._limits, info, self._n)
        as_int = tuple(m.astype(np.int8) for m in self._masks)
        return {**info, "action_mask": as_int[0] if len(as_int) == 1 else cast(Any, as_int)}
