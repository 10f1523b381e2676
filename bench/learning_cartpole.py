"""Return over wall time on CartPole-v1: `planegym train` beside Stable-Baselines3's DQN.

    python bench/learning_cartpole.py --planegym ./planegym --seeds 5 --out cartpole.csv

Both learn on one thread; where others use the machine, processor seconds tell more than wall seconds. SB3's
hyperparameters are those that RL Baselines3 Zoo tuned for CartPole-v1;
planegym's are its preset "default". The environments are the same: ours repeats Gymnasium's bit for bit.
Every 5,000 transitions the greedy policy plays 20 episodes, at the end 100. Playing is not on the clock,
nor are Python's imports; planegym's clock begins with its process.
"""

import argparse
import csv
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

EVERY, EPISODES, LAST = 5_000, 20, 100


def processor_seconds(pid):
    """What a process has used so far (Linux), or nan."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return float("nan")


def ours(binary, seed):
    """Yields (transitions, wall seconds, processor seconds, mean return)."""
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder, "run")
        command = [binary, "train", "--scenario", "cartpole", "--seed", str(seed), "--threads", "1", "--out", str(run)]
        began = time.time()
        process = subprocess.Popen(
            command + ["--checkpoint-every", str(EVERY), "--evaluate", "0", "--json"], stdout=subprocess.PIPE, text=True)
        policy, seen, kept = run / "policy.safetensors", 0, []
        while True:
            used = processor_seconds(process.pid)
            over = process.poll() is not None
            if policy.exists() and (stamp := policy.stat().st_mtime) != seen:
                seen = stamp  # files appear whole, by renaming
                copy = shutil.copy(policy, pathlib.Path(folder, f"{len(kept)}.safetensors"))
                kept.append((stamp - began, used, copy))
            if over:
                break
            time.sleep(0.005)
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed: {process.stdout.read()}")
        steps = json.loads(process.stdout.read())["steps"]
        for i, (seconds, used, copy) in enumerate(kept):
            last = i == len(kept) - 1
            played = subprocess.run(
                [binary, "play", copy, "--baselines=false", "--json", "--seed", str(1000 + seed),
                 "--episodes", str(LAST if last else EPISODES)], check=True, capture_output=True, text=True)
            mean = json.loads(played.stdout)["policies"][0]["return"]["mean"]
            yield steps if last else EVERY * (i + 1), seconds, used, mean


def theirs(seed, total=50_000):
    """The same of SB3."""
    import gymnasium
    import torch
    from stable_baselines3 import DQN
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    torch.set_num_threads(1)
    points = []

    class Watch(BaseCallback):
        def _on_training_start(self):
            self.seconds, self.used = 0.0, 0.0
            self.go()

        def go(self):
            self.since, self.since_used = time.time(), time.process_time()

        def _on_step(self):
            if self.num_timesteps % EVERY == 0 and self.num_timesteps < total:
                self.look(EPISODES)
            return True

        def _on_training_end(self):
            self.look(LAST)

        def look(self, episodes):
            self.seconds += time.time() - self.since
            self.used += time.process_time() - self.since_used
            test = Monitor(gymnasium.make("CartPole-v1"))
            test.reset(seed=1000 + seed)
            mean, _ = evaluate_policy(self.model, test, n_eval_episodes=episodes)
            points.append((self.num_timesteps, self.seconds, self.used, float(mean)))
            self.go()

    model = DQN(  # github.com/DLR-RM/rl-baselines3-zoo, hyperparams/dqn.yml, CartPole-v1
        "MlpPolicy", gymnasium.make("CartPole-v1"), learning_rate=2.3e-3, batch_size=64, buffer_size=100_000,
        learning_starts=1000, gamma=0.99, target_update_interval=10, train_freq=256, gradient_steps=128,
        exploration_fraction=0.16, exploration_final_eps=0.04, policy_kwargs={"net_arch": [256, 256]},
        seed=seed, device="cpu")
    model.learn(total, callback=Watch())
    return points


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--planegym", required=True, help="the planegym program")
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument("--only", choices=["planegym", "sb3"])
    p.add_argument("--out", default="cartpole.csv")
    args = p.parse_args()
    with open(args.out, "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["agent", "seed", "transitions", "wall_seconds", "processor_seconds", "return"])
        for name, learn in {"planegym": lambda s: ours(args.planegym, s), "sb3": theirs}.items():
            if args.only not in (None, name):
                continue
            runs = []
            for seed in range(args.seeds):
                runs.append(list(learn(seed)))
                out.writerows([name, seed, n, f"{w:.2f}", f"{c:.2f}", f"{r:.1f}"] for n, w, c, r in runs[-1])
                f.flush()
                _, wall, used, mean = runs[-1][-1]
                first = next((f"{w:.1f} s ({c:.1f} s)" for _, w, c, r in runs[-1] if r >= 475), "no time")
                print(f"{name} seed {seed}: {mean:.1f} after {wall:.1f} s ({used:.1f} s of the processor); "
                      f"first at 475 or more after {first}", flush=True)
            ends = [run[-1] for run in runs]
            print(f"{name}: mean {statistics.mean(e[3] for e in ends):.1f}; {sum(e[3] >= 475 for e in ends)} of "
                  f"{len(ends)} seeds end at 475 or more; median run {statistics.median(e[1] for e in ends):.1f} s "
                  f"({statistics.median(e[2] for e in ends):.1f} s)", flush=True)


if __name__ == "__main__":
    main()
