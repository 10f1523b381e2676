"""What Gymnasium's own tools ask of an environment: ids, specs, rendering, attributes."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import planegym
from planegym import ids

SIMULATED = ["synthetic", "contended", "per-switch", "cartpole", "recorded"]


def test_ids_are_the_servers(binary: str) -> None:
    """Every scenario that is bundled has an id, and nothing else has one."""
    done = subprocess.run([binary, "scenario", "list", "--json"], capture_output=True, check=True)
    names = {row["name"] for row in json.loads(done.stdout)}
    assert names == set(ids.STEPS)
    assert planegym.SCENARIOS["planegym/Synthetic-v0"] == "synthetic"
    assert planegym.SCENARIOS["planegym/PerSwitch-v0"] == "per-switch"


@pytest.mark.parametrize("scenario", SIMULATED)
def test_spec_is_the_servers(url: str, scenario: str) -> None:
    """The steps of an episode that an id is registered with are those of the server, and
    planegym.make has the spec too: an equal environment can be made of it."""
    env = planegym.make(url, scenario)
    assert env.spec is not None
    assert env.spec.max_episode_steps == ids.STEPS[scenario]
    env.reset(seed=3)
    assert env.spec.max_episode_steps == env.made["max_steps"] == ids.STEPS[scenario]
    again = gymnasium.make(env.spec)
    assert np.array_equal(again.reset(seed=3)[0], env.reset(seed=3)[0])
    assert env.spec.id == f"planegym/{ids.name(scenario)}"
    again.close()
    env.close()


def test_spec_without_a_server() -> None:
    """Asking for it, and printing the environment, connects to nothing."""
    env = planegym.make("ws://127.0.0.1:9", "mine.toml")
    assert env.spec is not None
    assert env.spec.id == "planegym/Scenario-v0"
    assert env.spec.kwargs == {"scenario": "mine.toml", "url": "ws://127.0.0.1:9"}
    assert "Scenario-v0" in str(env)
    assert json.loads(env.spec.to_json())["kwargs"]["scenario"] == "mine.toml"


def test_spec_of_a_changed_scenario(url: str) -> None:
    env = planegym.make(url, "synthetic", kwargs={"env": {"max_steps": 7}})
    assert env.spec is not None
    assert env.spec.max_episode_steps is None
    env.reset(seed=1)
    assert env.spec.max_episode_steps == 7
    env.close()


def test_no_import_needed(url: str) -> None:
    """Gymnasium's own form, MODULE:ID."""
    code = (
        "import gymnasium\n"
        f"env = gymnasium.make('planegym:planegym/Synthetic-v0', url={url!r})\n"
        "print(env.reset(seed=1)[0].shape, env.spec.max_episode_steps)\n"
        "env.close()"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert (done.stderr, done.stdout) == ("", "(22,) 900\n")


@pytest.mark.parametrize("scenario", SIMULATED)
def test_check_env(url: str, scenario: str) -> None:
    """Nothing but the warnings of CartPole's infinite bounds."""
    env = gymnasium.make(f"planegym/{ids.name(scenario)}", url=url)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*infinity.*" if scenario == "cartpole" else "-")
        check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_unknown_keywords(url: str) -> None:
    """In Python's own words, for libraries that look for them."""
    for make in (
        lambda: planegym.make(url, "cartpole", frame_skip=4),
        lambda: planegym.VectorEnv(url, "cartpole", 2, frame_skip=4),
        lambda: gymnasium.make("planegym/CartPole-v0", url=url, frame_skip=4),
    ):
        with pytest.raises(TypeError, match="got an unexpected keyword argument 'frame_skip'"):
            make()


def test_make_vec_bounds_episodes(url: str) -> None:
    """max_episode_steps reaches the server."""
    env = gymnasium.make_vec(
        "planegym/Synthetic-v0", 2, vectorization_mode="vector_entry_point", url=url,
        max_episode_steps=3,
    )  # fmt: skip
    env.reset(seed=1)
    ends = [env.step(np.zeros(2, int))[3].tolist() for _ in range(3)]
    assert ends == [[False, False], [False, False], [True, True]]
    env.close()


@pytest.mark.parametrize("scenario", ["synthetic", "per-switch"])
def test_infos(url: str, scenario: str) -> None:
    """numpy values, under the names of made; those of a vector are those of singles."""
    env = planegym.make(url, scenario)
    _, info = env.reset(seed=1)
    assert list(info) == [f["name"] for f in env.made["info_fields"]]
    assert {type(v) for v in info.values()} == {np.float32}
    vector = planegym.VectorEnv(url, scenario, 2)
    _, infos = vector.reset(seed=1)
    assert {k: v[0] for k, v in infos.items() if not k.startswith("_")} == info
    vector.close()
    env.close()


def test_attributes(url: str) -> None:
    env = planegym.VectorEnv(url, "cartpole", 3)
    env.reset(seed=1)
    assert env.get_attr("single_action_space") == (env.single_action_space,) * 3
    assert env.call("action_space") == (env.single_action_space,) * 3
    assert env.get_attr("render_mode") == (None,) * 3
    assert len(env.call("get_state")) == 3
    env.set_attr("difficulty", [1, 2, 3])
    assert env.get_attr("difficulty") == (1, 2, 3)
    env.set_attr("difficulty", 7)
    assert env.get_attr("difficulty") == (7, 7, 7)
    with pytest.raises(ValueError, match="2 values for 3"):
        env.set_attr("difficulty", [1, 2])
    for name in ("made", "num_envs", "single_action_space", "step"):
        with pytest.raises(AttributeError, match="cannot be set"):
            env.set_attr(name, 1)
    with pytest.raises(AttributeError, match="not an attribute of a row"):
        env.call("step")
    with pytest.raises(AttributeError):
        env.get_attr("nothing")
    env.close()


# --- rendering

drawn = pytest.mark.skipif(importlib.util.find_spec("pygame") is None, reason="no pygame")


@pytest.fixture(autouse=True)
def headless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


@drawn
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scenario", SIMULATED)
def test_frames(url: str, scenario: str) -> None:
    """Each step changes the picture; what is drawn is what is known."""
    env = planegym.make(url, scenario, render_mode="rgb_array")
    with pytest.raises(planegym.ResetRequiredError):
        env.render()
    env.reset(seed=1)
    frames = [env.render()]
    for _ in range(5):
        env.step(env.action_space.sample())
        frames.append(env.render())
    for a, b in itertools.pairwise(frames):
        assert (a.dtype, a.shape) == (np.uint8, (400, 640, 3))
        assert (a != b).any()
    assert (frames[0] == 255).mean() > 0.5
    env.close()


@drawn
def test_a_frame_shows_its_queue(url: str) -> None:
    """Two states that differ in one queue alone differ in its switch and the queues' panel."""
    env = planegym.make(url, "synthetic", render_mode="rgb_array")
    env.reset(seed=1)
    env.step(0)
    assert env._painter is not None
    a = env.render()
    last = env._painter.past[-1]
    env._painter.past[-1] = last._replace(info={**last.info, "enq_qdepth1": np.float32(30)})
    b = env.render()
    rows = np.flatnonzero((a != b).any((1, 2)))
    assert rows.size
    assert rows.min() >= 30
    assert rows.max() < 246
    columns = np.flatnonzero((a != b)[:160].any((0, 2)))  # of the network
    assert columns.size
    assert columns.min() >= 104  # the first switch's box
    assert columns.max() < 192
    env.close()


@drawn
def test_human(url: str) -> None:
    env = planegym.make(url, "synthetic", render_mode="human")
    env.metadata = {**env.metadata, "render_fps": 1000}
    env.reset(seed=1)
    env.step(1)
    assert env._painter is not None
    assert env._painter._window is not None
    assert env.render() is None
    env.close()
    assert env._painter._window is None


def test_ansi(url: str) -> None:
    env = planegym.make(url, "per-switch", render_mode="ansi")
    env.reset(seed=1)
    _, reward, _, _, info = env.step([0, 1, 2])
    text = env.render()
    assert f"enq_qdepth3: {info['enq_qdepth3']:.1f}" in text
    assert "limit1: 32  limit2: 64  limit3: 128" in text
    assert f"buffer {info['lbo_s']:.1f} s" in text
    assert f"action 0, 1, 2  reward {reward:+.3f}" in text
    assert "step 1/900 (4 s)" in text
    env.close()


def test_render_modes(url: str) -> None:
    with pytest.raises(ValueError, match="render_mode: 'svg' is not one of"):
        planegym.make(url, render_mode="svg")
    with pytest.raises(ValueError, match="leave out info=False"):
        planegym.make(url, render_mode="ansi", info=False)


@drawn
@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_vector_frames(url: str, mode: str) -> None:
    """A frame for each row, each as a single environment draws it."""
    options: Any = {"kwargs": {"env": {"max_steps": 4}}, "render_mode": "rgb_array"}
    env = planegym.VectorEnv(url, "synthetic", 2, autoreset_mode=mode, **options)
    one = planegym.make(url, "synthetic", **options)
    env.reset(seed=5)
    one.reset(seed=5)
    for k in range(4):
        env.step(np.array([k % 3, 0]))
        one.step(k % 3)
        if k < 3:
            frames = env.render()
            assert frames is not None
            assert len(frames) == 2
            assert np.array_equal(frames[0], one.render())
            assert not np.array_equal(*frames)
    texts = env._painters[0]
    assert texts.steps == (0 if mode == "same_step" else 4)
    if mode == "next_step":
        env.step(np.zeros(2, int))
        assert texts.steps == 0
    env.close()
    one.close()


@drawn
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Overwriting")
def test_record_video(url: str, tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    env = gymnasium.make(
        "planegym/Synthetic-v0", url=url, render_mode="rgb_array", max_episode_steps=8
    )
    env = gymnasium.wrappers.RecordVideo(env, str(tmp_path), disable_logger=True)
    env.reset(seed=1)
    over = False
    while not over:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        over = bool(terminated or truncated)
    env.close()
    (video,) = tmp_path.glob("*.mp4")
    assert video.stat().st_size > 1000


def measure(url: str) -> float:
    """Processor seconds that a frame takes, the median of 200, with a full history."""
    env = planegym.make(url, "synthetic", render_mode="rgb_array")
    env.reset(seed=1)
    took = []
    for _ in range(350):
        env.step(env.action_space.sample())
        began = time.process_time()
        env.render()
        took.append(time.process_time() - began)
    env.close()
    return float(np.median(took[150:]))


if __name__ == "__main__":
    with planegym.launch() as server:
        print(f"a frame takes {1e3 * measure(server.url):.1f} ms of a processor, the median of 200")
