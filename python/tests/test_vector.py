"""planegym.VectorEnv against a real server, beside Gymnasium's SyncVectorEnv."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import planegym


def sync(n: int, mode: AutoresetMode) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * n, autoreset_mode=mode)


def vector(url: str, n: int, mode: AutoresetMode, **options: Any) -> planegym.VectorEnv:
    return planegym.VectorEnv(url, "cartpole", n, autoreset_mode=mode, **options)


def same(a: Any, b: Any) -> None:
    """Equal in every bit, type and key."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for k in a:
            same(a[k], b[k])
    elif isinstance(a, (tuple, list)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if a.dtype == object:
            for x, y in zip(a, b, strict=True):
                same(x, y)
        else:
            assert a.tobytes() == b.tobytes()
    else:
        assert a == b


@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_bit_identical(url: str, n: int, mode: AutoresetMode) -> None:
    """3,000 steps, infos included."""
    own, ours = sync(n, mode), vector(url, n, mode)
    same(own.reset(seed=11), ours.reset(seed=11))
    rng = np.random.default_rng(3)
    ends = 0
    for _ in range(3000):
        actions = rng.integers(0, 2, n)
        a, b = own.step(actions), ours.step(actions)
        same(a, b)
        ends += int(a[2].sum())
    assert ends > 100
    same(own.reset(), ours.reset())
    assert own.observation_space == ours.observation_space
    assert own.action_space == ours.action_space
    assert own.metadata["autoreset_mode"] == ours.metadata["autoreset_mode"] == mode
    ours.close()


def test_bit_identical_to_singles(url: str) -> None:
    """SyncVectorEnv over remote single environments is the VectorEnv, too."""
    n = 3
    singles = SyncVectorEnv(
        [lambda: planegym.make(url, "cartpole")] * n, autoreset_mode=AutoresetMode.SAME_STEP
    )
    batch = vector(url, n, AutoresetMode.SAME_STEP)
    same(singles.reset(seed=5), batch.reset(seed=5))
    rng = np.random.default_rng(4)
    for _ in range(3000):
        actions = rng.integers(0, 2, n)
        same(singles.step(actions), batch.step(actions))
    singles.close()
    batch.close()


def test_disabled(url: str) -> None:
    """The caller resets, by reset_mask."""
    n = 5
    own, ours = sync(n, AutoresetMode.DISABLED), vector(url, n, AutoresetMode.DISABLED)
    same(own.reset(seed=1), ours.reset(seed=1))
    rng = np.random.default_rng(4)
    over = np.zeros(n, bool)
    for _ in range(500):
        if over.any():
            same(
                own.reset(options={"reset_mask": over.copy()}),
                ours.reset(options={"reset_mask": over.copy()}),
            )
        actions = rng.integers(0, 2, n)
        a, b = own.step(actions), ours.step(actions)
        same(a, b)
        over = a[2] | a[3]
    while not over.any():
        _, _, over, _, _ = ours.step(np.ones(n, int))
    with pytest.raises(planegym.EpisodeOverError, match="reset_mask") as e:
        ours.step(np.ones(n, int))
    assert e.value.row == int(np.flatnonzero(over)[0])
    ours.close()


@pytest.mark.parametrize("seed", [3, [3, 9, 1], [3, None, 1]])
def test_seeds(url: str, seed: Any) -> None:
    own, ours = sync(3, AutoresetMode.NEXT_STEP), vector(url, 3, AutoresetMode.NEXT_STEP)
    same(own.reset(seed=7), ours.reset(seed=7))
    same(own.reset(seed=seed), ours.reset(seed=seed))
    same(own.reset(), ours.reset())
    mask = np.array([True, False, True])
    same(
        own.reset(seed=[5, 6, None], options={"reset_mask": mask}),
        ours.reset(seed=[5, 6, None], options={"reset_mask": mask}),
    )
    ours.close()


def test_seeds_wrap(url: str) -> None:
    v = vector(url, 2, AutoresetMode.NEXT_STEP)
    a, _ = v.reset(seed=2**64 - 1)
    b, _ = v.reset(seed=[2**64 - 1, 0])
    assert np.array_equal(a, b)
    v.close()


def test_unseeded_rows_differ(url: str) -> None:
    v, w = vector(url, 3, AutoresetMode.NEXT_STEP), vector(url, 3, AutoresetMode.NEXT_STEP)
    obs = np.concatenate([v.reset()[0], w.reset()[0]])
    assert len(np.unique(obs, axis=0)) == 6
    v.close()
    w.close()


@pytest.mark.parametrize(
    "actions",
    [
        np.zeros(2, int),
        np.zeros((3, 2), int),
        np.full(3, 0.5),
        np.full(3, np.nan),
        [0.0, np.inf, 0.0],
        [0.0, 2.0**31, 0.0],
        [0, 1, 2],
        [0, -1, 0],
        [0, 2**32 + 1, 0],
        np.array([0, 1, 2]),
        np.array([0, -1, 0]),
        np.array([0, 2**31, 0]),
        np.array([0, 2**32, 0]),
        np.array([0, -(2**32), 0]),
        np.array([0, -1, 0], "i4"),
        ["a", "b", "c"],
        None,
    ],
)
def test_bad_actions(url: str, actions: Any) -> None:
    """Refused whole; the next step is as if nothing happened."""
    own, ours = sync(3, AutoresetMode.NEXT_STEP), vector(url, 3, AutoresetMode.NEXT_STEP)
    own.reset(seed=1)
    ours.reset(seed=1)
    with pytest.raises(planegym.InvalidActionError) as e:
        ours.step(actions)
    if isinstance(actions, list) and isinstance(actions[1], int):
        assert e.value.row == (2 if actions[2] else 1)
    same(own.step(np.array([0, 1, 0])), ours.step(np.array([0, 1, 0])))
    ours.close()


def test_exact_actions(url: str) -> None:
    """Floats without a fraction, and one-element arrays, are the integers they are."""
    ours = vector(url, 3, AutoresetMode.NEXT_STEP)
    want = None
    for actions in ([0, 1, 0], [0.0, 1.0, 0.0], [[0], [1], [0]], np.array([[0], [1], [0]], "f4")):
        ours.reset(seed=1)
        got = ours.step(actions)[0]
        want = got if want is None else want
        assert np.array_equal(got, want)
    ours.close()


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "i4", ">i4", "i8", "u8"])
def test_action_types(url: str, dtype: str) -> None:
    own, ours = sync(4, AutoresetMode.NEXT_STEP), vector(url, 4, AutoresetMode.NEXT_STEP)
    own.reset(seed=1)
    ours.reset(seed=1)
    a = np.array([0, 1, 1, 0])
    same(own.step(a), ours.step(a.astype(dtype)))
    same(own.step(a), ours.step(np.repeat(a.astype(dtype), 2)[::2]))
    same(own.step(a), ours.step(a.tolist()))
    ours.close()


def test_copy(url: str) -> None:
    ours = vector(url, 3, AutoresetMode.NEXT_STEP, copy=False)
    first, _ = ours.reset(seed=1)
    second = ours.step(np.zeros(3, int))[0]
    assert np.shares_memory(first, second)
    kept = vector(url, 3, AutoresetMode.NEXT_STEP)
    first, _ = kept.reset(seed=1)
    second = kept.step(np.zeros(3, int))[0]
    assert not np.shares_memory(first, second)
    ours.close()
    kept.close()


def test_step_async(url: str) -> None:
    ours = vector(url, 3, AutoresetMode.NEXT_STEP)
    ours.reset(seed=1)
    with pytest.raises(planegym.PlanegymError, match="nothing was sent"):
        ours.step_wait()
    ours.step_async(np.zeros(3, int))
    for call in (
        lambda: ours.step_async(np.zeros(3, int)),
        lambda: ours.step_many(np.zeros((2, 3), int)),
        ours.get_state,
    ):
        with pytest.raises(planegym.PendingError, match=r"step_wait\(\)"):
            call()
    ours.step_wait()
    ours.step_async(np.zeros(3, int))
    ours.reset(seed=1)  # drops it
    own = sync(3, AutoresetMode.NEXT_STEP)
    own.reset(seed=1)
    same(own.step(np.ones(3, int)), ours.step(np.ones(3, int)))
    ours.close()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_send_recv(url: str, mode: AutoresetMode) -> None:
    """Subsets in flight give what stepping each row alone gives."""
    n = 6
    ours = vector(url, n, mode)
    ours.reset(seed=21)
    alone = [vector(url, 1, mode) for _ in range(n)]
    for i, v in enumerate(alone):
        v.reset(seed=21 + i)
    rng = np.random.default_rng(5)
    flying: list[tuple[Any, Any]] = []
    for _ in range(300):
        rows = None if rng.random() < 0.2 else rng.permutation(n)[: rng.integers(1, n + 1)]
        actions = rng.integers(0, 2, n if rows is None else len(rows))
        ours.send(actions, rows)
        flying.append((rows, actions))
        while len(flying) > rng.integers(0, 20):
            rows, actions = flying.pop(0)
            got = ours.recv()
            assert got.rows.tolist() == (list(range(n)) if rows is None else rows.tolist())
            for j, (row, action) in enumerate(zip(got.rows, actions, strict=True)):
                obs, reward, terminated, truncated, info = alone[row].step(np.array([action]))
                assert np.array_equal(obs[0], got.obs[j])
                assert (reward[0], terminated[0], truncated[0]) == (
                    got.reward[j],
                    got.terminated[j],
                    got.truncated[j],
                )
                if "final_obs" in info:
                    assert np.array_equal(info["final_obs"][0], got.info["final_obs"][j])
    for v in (ours, *alone):
        v.close()


@pytest.mark.parametrize("rows", [[0, 3], [-1], [1, 1], [], [0.5], 1, [[0]]])
def test_bad_rows(url: str, rows: Any) -> None:
    ours = vector(url, 3, AutoresetMode.NEXT_STEP)
    ours.reset(seed=1)
    with pytest.raises(planegym.InvalidRowsError, match="num_envs"):
        ours.send(np.zeros(np.size(rows), int), rows)
        ours.recv()
    ours.step(np.zeros(3, int))
    ours.close()


def test_errors_in_a_pipeline(url: str) -> None:
    """What was sent before the error was seen is skipped, what is sent after
    is executed, and client and server stay in step."""
    ours = vector(url, 2, AutoresetMode.NEXT_STEP)
    own = sync(2, AutoresetMode.NEXT_STEP)
    ours.reset(seed=1)
    own.reset(seed=1)
    good = np.array([0, 1])
    for _ in range(3):
        ours.send(good)
        ours.send(np.array([0, 7]))
        ours.send(good)
        ours.send(good)
        assert np.array_equal(ours.recv().obs, own.step(good)[0])
        with pytest.raises(planegym.InvalidActionError, match="7") as e:
            ours.recv()
        assert e.value.row == 1
        ours.send(good)
        for _ in range(2):
            with pytest.raises(planegym.SkippedError, match="send"):
                ours.recv()
        assert np.array_equal(ours.recv().obs, own.step(good)[0])
    same(own.step(good), ours.step(good))
    ours.close()


def test_in_flight_limit(url: str) -> None:
    ours = vector(url, 2, AutoresetMode.NEXT_STEP)
    ours.reset(seed=1)
    limit = ours.made["in_flight"]
    for _ in range(limit):
        ours.send(np.array([0, 1]))
    with pytest.raises(planegym.PendingError, match=str(limit)):
        ours.send(np.array([0, 1]))
    for _ in range(limit):
        ours.recv()
    ours.step(np.array([0, 1]))
    ours.close()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_step_many(url: str, mode: AutoresetMode) -> None:
    n, steps = 3, 200
    actions = np.random.default_rng(6).integers(0, 2, (steps, n))
    one, many = vector(url, n, mode), vector(url, n, mode)
    one.reset(seed=2)
    many.reset(seed=2)
    obs, reward, terminated, truncated, info = many.step_many(actions)
    for t in range(steps):
        o, r, te, tr, i = one.step(actions[t])
        same((o, r, te, tr), (obs[t], reward[t], terminated[t], truncated[t]))
        if "final_obs" in i:
            for row in np.flatnonzero(i["_final_obs"]):
                assert info["_final_obs"][t, row]
                assert np.array_equal(i["final_obs"][row], info["final_obs"][t, row])
    assert terminated.any()
    one.close()
    many.close()


def test_state(url: str) -> None:
    v = vector(url, 4, AutoresetMode.NEXT_STEP)
    v.reset(seed=1)
    states = v.get_state()
    two = v.get_state([2])
    assert two == states[2:3]
    run = [v.step(np.array([0, 1, 0, 1]))[0] for _ in range(20)]
    v.set_state(states)
    assert np.array_equal(run, [v.step(np.array([0, 1, 0, 1]))[0] for _ in range(20)])
    with pytest.raises(planegym.PlanegymError):
        v.set_state(states[:3])
    v.step(np.zeros(4, int))
    v.close()


def test_pickle(url: str) -> None:
    v = vector(url, 3, AutoresetMode.SAME_STEP)
    v.reset(seed=1)
    v.step_async(np.zeros(3, int))
    w = pickle.loads(pickle.dumps(v))
    same(v.reset(seed=4), w.reset(seed=4))
    same(v.step(np.ones(3, int)), w.step(np.ones(3, int)))
    v.close()
    w.close()


def test_large_batch(url: str) -> None:
    """Frames of 64-bit length in both directions."""
    n = 30_000
    v = vector(url, n, AutoresetMode.NEXT_STEP)
    obs, _ = v.reset(seed=0)
    assert obs.shape == (n, 4)
    row, _ = vector(url, 1, AutoresetMode.NEXT_STEP).reset(seed=n - 1)
    assert np.array_equal(obs[-1], row[0])
    for _ in range(3):
        v.step(np.ones(n, int))
    v.close()


def test_too_large_a_batch(url: str) -> None:
    with pytest.raises(planegym.CapacityError, match=r"\d{5}"):
        vector(url, 10**7, AutoresetMode.NEXT_STEP).reset()


@pytest.mark.parametrize("mode", ["NextStep", "next_step", "SameStep", "Disabled", "disabled"])
def test_mode_names(mode: str) -> None:
    v = planegym.VectorEnv(num_envs=2, autoreset_mode=mode)
    assert v.metadata["autoreset_mode"].value.lower() == mode.replace("_", "").lower()


def test_bad_mode() -> None:
    with pytest.raises(ValueError, match="autoreset_mode"):
        planegym.VectorEnv(num_envs=2, autoreset_mode="never")
    with pytest.raises(ValueError, match="num_envs"):
        planegym.VectorEnv(num_envs=0)


def test_wrappers(url: str) -> None:
    """Gymnasium's vector wrappers find what they look for."""
    v = gymnasium.wrappers.vector.RecordEpisodeStatistics(vector(url, 4, AutoresetMode.NEXT_STEP))
    v.reset(seed=1)
    seen = 0
    for _ in range(100):
        info = v.step(v.action_space.sample())[4]
        seen += "episode" in info
    assert seen
    v.close()
