# needs: torch d3rlpy minari[hdf5,create] pillow gymnasium
# shows: `planegym.to_minari`, then `get_minari` and discrete CQL
from __future__ import annotations

import os
import tempfile

import d3rlpy

import planegym

if __name__ == "__main__":
    os.environ["MINARI_DATASETS_PATH"] = tempfile.mkdtemp()
    env = planegym.make(None, "synthetic", kwargs={"env": {"max_steps": 30}})
    planegym.to_minari(env, "planegym/synthetic/random-v0", episodes=4)
    dataset, again = d3rlpy.datasets.get_minari("planegym/synthetic/random-v0")
    assert dataset.size() == 4
    assert again.observation_space == env.observation_space
    cql = d3rlpy.algos.DiscreteCQLConfig(batch_size=32).create(device="cpu:0")
    cql.fit(
        dataset,
        n_steps=40,
        n_steps_per_epoch=20,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        show_progress=False,
    )
    assert cql.predict(env.reset(seed=1)[0][None]).shape == (1,)
    env.close()
