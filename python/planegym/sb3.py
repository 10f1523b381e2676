"""Stable-Baselines3's VecEnv over one session; needs stable-baselines3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

try:
    from stable_baselines3.common.vec_env import VecEnv as SB3VecEnv
except ImportError as e:
    raise ImportError(
        "planegym.sb3 needs Stable-Baselines3: pip install stable-baselines3; before it, where no "
        "GPU is, `pip install torch --index-url https://download.pytorch.org/whl/cpu`, or pip "
        "fetches 3 GB of CUDA"
    ) from e

from ._config import Options
from .vector import VectorEnv

if TYPE_CHECKING:
    from typing_extensions import Unpack


class VecEnv(SB3VecEnv):  # type: ignore[misc]
    """num_envs remote environments as Stable-Baselines3 wants them: reset
    within the step that ended them, the last observation in
    info["terminal_observation"], info["TimeLimit.truncated"] where time was up.

    Arguments are those of planegym.VectorEnv. For episode statistics wrap it in
    stable_baselines3's VecMonitor.
    """

    def __init__(
        self,
        url: str | None = None,
        scenario: str | None = None,
        num_envs: int = 1,
        *,
        render_mode: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.vector = VectorEnv(
            url,
            scenario,
            num_envs,
            autoreset_mode="same_step",
            render_mode=render_mode,
            **options,
        )
        self.metadata = self.vector.metadata
        super().__init__(
            num_envs, self.vector.single_observation_space, self.vector.single_action_space
        )

    def reset(self) -> np.ndarray:
        """Start episodes, with the seeds that seed() gave once."""
        seeds = self._seeds if any(s is not None for s in self._seeds) else None
        options = next((o for o in self._options if o), None)
        obs, info = self.vector.reset(seed=seeds, options=options)
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = self._split(info)
        return obs

    def step_async(self, actions: np.ndarray) -> None:
        """Send a step; step_wait takes its result."""
        self.vector.step_async(actions)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """The result of step_async: observations, rewards, dones, infos."""
        obs, reward, terminated, truncated, info = self.vector.step_wait()
        infos = self._split(info)
        dones = terminated | truncated
        for i in range(self.num_envs):
            infos[i]["TimeLimit.truncated"] = False
        for i in np.flatnonzero(dones).tolist():
            infos[i]["terminal_observation"] = info["final_obs"][i]
            infos[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
        return obs, reward.astype(np.float32), dones, infos

    def _split(self, info: dict[str, Any]) -> list[dict[str, Any]]:
        """Gymnasium's infos, a dict for each row."""
        names = [k for k in info if "_" + k in info and not k.startswith("final_")]
        if not names:
            return [{} for _ in range(self.num_envs)]
        columns = zip(*(info[k].tolist() for k in names), strict=True)
        return [dict(zip(names, values, strict=True)) for values in columns]

    def close(self) -> None:
        """End the session. Closing again does nothing."""
        self.vector.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """A frame of each row, under render_mode "rgb_array"."""
        if self.render_mode != "rgb_array":
            return [None] * self.num_envs
        return list(self.vector.render() or ())

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of rows: what set_attr gave them, else the VectorEnv's."""
        values = self.vector.get_attr(attr_name)
        return [values[i] for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Give rows an attribute, for get_attr; what the server decides cannot be set."""
        try:
            values = list(self.vector.get_attr(attr_name))
        except AttributeError:
            values = [None] * self.num_envs
        for i in self._get_indices(indices):
            values[i] = value
        self.vector.set_attr(attr_name, values)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """A method of rows: get_state, render, or set_state with a state for each."""
        rows = list(self._get_indices(indices))
        if method_name == "set_state":
            (states,) = method_args
            self.vector.set_state(states, rows)
            return [None] * len(rows)
        values = self.vector.call(method_name, *method_args, **method_kwargs)
        return [values[i] for i in rows]

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: Any = None
    ) -> list[bool]:
        """Never."""
        return [False] * len(list(self._get_indices(indices)))
