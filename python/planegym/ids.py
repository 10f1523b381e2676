"""Gymnasium's ids of planegym's bundled scenarios.

A test compares the table with `planegym scenario list`. Gymnasium 1.0 and later
follow no entry points: gymnasium.make("planegym:planegym/Synthetic-v0") imports
planegym by itself, and so does gymnasium.register_envs(planegym).
"""

from __future__ import annotations

from typing import Any

# Scenario: steps after which an episode is truncated.
STEPS = {
    "calibrated": 900,
    "cartpole": 500,
    "closed-loop": 900,
    "contended": 900,
    "crossing": 900,
    "crossing-attack": 900,
    "per-switch": 900,
    "recorded": 900,
    "replay": 900,
    "site": 900,
    "synthetic": 900,
    "testbed": 900,
    "tutorial": 900,
}

ANY = "Scenario-v0"  # of a scenario that its keyword names: planegym/Scenario-v0


def name(scenario: str) -> str:
    """The id of a scenario, without its namespace."""
    if scenario == "cartpole":
        return "CartPole-v0"
    return "".join(part.capitalize() for part in scenario.split("-")) + "-v0"


IDS = {f"planegym/{name(s)}": s for s in STEPS}


def register(namespace: str = "planegym/") -> None:
    """Register all ids that are not registered yet."""
    from gymnasium.envs.registration import register as add
    from gymnasium.envs.registration import registry

    entry: dict[str, Any] = {
        "entry_point": "planegym.env:Env",
        "vector_entry_point": "planegym.vector:VectorEnv",
    }
    for scenario, steps in STEPS.items():
        if f"planegym/{name(scenario)}" not in registry:
            add(
                namespace + name(scenario),
                max_episode_steps=steps,
                kwargs={"scenario": scenario},
                **entry,
            )
    if f"planegym/{ANY}" not in registry:
        add(namespace + ANY, **entry)


def plugin() -> None:
    """What the entry point gymnasium.envs calls, in a Gymnasium before 1.0."""
    register(namespace="")
