#!/usr/bin/env python3
"""Print trajectories of Gymnasium's CartPole-v1, the golden file of TestCartPoleGymnasium.

    pip install gymnasium==1.4.0 numpy==2.4.6
    python3 cartpole.py > cartpole.txt

A line: seed, policy, step, the four float32 observations as hexadecimal bits, terminated, truncated. The policy
"balance" pushes with 1 where 3·pole_angle + pole_angular_velocity > 0, "right" always, "alternate" 0, 1, 0, …
The second episode of each run starts with an unseeded reset.
"""
import gymnasium
import numpy

POLICIES = {
    "balance": lambda o, t: int(3 * float(o[2]) + float(o[3]) > 0),
    "right": lambda o, t: 1,
    "alternate": lambda o, t: t % 2,
}
env = gymnasium.make("CartPole-v1")
print(f"# gymnasium {gymnasium.__version__} numpy {numpy.__version__}")
for seed in (0, 1, 42, 2**32 - 1, 2**40 + 7):
    for name, policy in POLICIES.items():
        for reset in ({"seed": seed}, {}):
            obs, _ = env.reset(**reset)
            over, t = (False, False), 0
            while True:
                bits = " ".join(f"{v:08x}" for v in obs.view(numpy.uint32))
                print(seed, name, t, bits, int(over[0]), int(over[1]))
                if any(over):
                    break
                obs, _, *over, _ = env.step(policy(obs, t))
                t += 1
