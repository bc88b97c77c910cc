"""SAC of Stable-Baselines3 on Reacher-v5: credit from episode returns, against dense rewards and the bare return.

    python benchmarks/sb3_credit.py --workers 2 --out results/sb3       # goes on where it stopped
    python benchmarks/sb3_credit.py --cost                              # what credit adds to a step

``dense`` learns from the environment's rewards. The other two get the return in the last step of an episode and zeros
before: ``lare`` through CreditReplayBuffer, ``episodic`` as it is. Everything else is equal and SAC's default. One
process and one thread per run. Steps per second are of processor time, without evaluations and without the first part,
in which programs are compiled. Needs the extra ``sb3``.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import numpy as np

SETTINGS = ("lare", "dense", "episodic")


def train(setting: str, seed: int, options: argparse.Namespace) -> list[dict]:
    """Train one agent; a row per evaluation, on the true rewards."""
    import latent_reward as lr  # isort: skip - it tells JAX how many cores there are

    import gymnasium
    import torch
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    from latent_reward.adapters.sb3 import CreditReplayBuffer

    class ReturnAtTheEnd(gymnasium.Wrapper):
        """Pays the whole return in the last step."""

        def reset(self, **options):
            self.ret = 0.0
            return self.env.reset(**options)

        def step(self, action):
            observation, reward, terminated, truncated, info = self.env.step(action)
            self.ret += float(reward)
            return observation, self.ret if terminated or truncated else 0.0, terminated, truncated, info

    torch.set_num_threads(1)
    with warnings.catch_warnings():  # of the packages that SBX imports
        warnings.simplefilter("ignore")
        algorithm = import_module(options.library).SAC
    env = gymnasium.make(options.task)
    settings: dict = {}
    credit = None
    if setting != "dense":
        env = ReturnAtTheEnd(env)
    if setting not in ("dense", "episodic"):
        credit = lr.Credit(options.task, method=setting, seed=seed)
        settings = {
            "replay_buffer_class": CreditReplayBuffer,
            "replay_buffer_kwargs": {"credit": credit},
        }
    model = algorithm("MlpPolicy", env, seed=seed, device="cpu", **settings)
    judge = Monitor(gymnasium.make(options.task))
    judge.reset(seed=10_000)
    rows, seconds = [], 0.0
    while model.num_timesteps < options.steps:
        start = time.process_time()
        model.learn(min(options.every, options.steps - model.num_timesteps), reset_num_timesteps=False)
        seconds += time.process_time() - start
        returns = evaluate_policy(model, judge, options.episodes, return_episode_rewards=True)[0]
        row = {"setting": setting, "seed": seed, "step": model.num_timesteps, "seconds": seconds}
        row["return"] = float(np.mean(returns))
        if credit is not None:
            row["explained_variance"] = credit.quality["explained_variance"]
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def start(setting: str, seed: int, options: argparse.Namespace) -> None:
    """One run in a process of its own, unless its result is there already."""
    target = options.out / f"{options.task}-{setting}-{seed}.json"
    if target.exists():
        return
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    single |= {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "JAX_PLATFORMS": "cpu"}
    single |= {"JAX_CPU_ENABLE_ASYNC_DISPATCH": "false"}
    command = [sys.executable, __file__, "--run", setting, str(seed), "--task", options.task]
    for option in ("library", "steps", "every", "episodes"):
        command += [f"--{option}", str(getattr(options, option))]
    with target.with_suffix(".log").open("w") as log:
        done = subprocess.run(
            command, env={**os.environ, **single}, stdout=subprocess.PIPE, stderr=log, check=False
        )
    if done.returncode:
        print(f"{target.stem} failed, see {target.with_suffix('.log')}", flush=True)
        return
    rows = [json.loads(line) for line in done.stdout.decode().splitlines() if line.startswith("{")]
    target.write_text(json.dumps(rows), "utf-8")
    print(f"{target.stem}: {rows[-1]['return']:.2f} after {rows[-1]['seconds']:.0f} s", flush=True)


def cost(options: argparse.Namespace) -> None:
    """Milliseconds of processor time of a batch with and without credit, of an update, and of a whole step."""
    import latent_reward as lr  # isort: skip - it tells JAX how many cores there are

    import torch
    from stable_baselines3 import SAC

    from latent_reward.adapters.sb3 import CreditReplayBuffer

    torch.set_num_threads(1)
    credit = lr.Credit(options.task)
    settings = {"replay_buffer_class": CreditReplayBuffer, "replay_buffer_kwargs": {"credit": credit}}
    with_credit = SAC("MlpPolicy", options.task, device="cpu", **settings)
    without = SAC("MlpPolicy", options.task, device="cpu")
    for model in (with_credit, without):
        model.learn(1_500)
    tried = {
        "batch of 256 with credit": (lambda: with_credit.replay_buffer.sample(256), 1),
        "batch of 256 without": (lambda: without.replay_buffer.sample(256), 1),
        "update of the credit": (lambda: credit.fit(50), 50),
        "step of SAC without credit": (lambda: without.learn(50, reset_num_timesteps=False), 50),
    }
    for name, (call, parts) in tried.items():
        times = []
        for _ in range(30):
            start = time.process_time()
            call()
            times.append((time.process_time() - start) / parts)
        print(f"{name}: {1e3 * np.median(times):.2f} ms")


def report(options: argparse.Namespace) -> None:
    """Mean returns over seeds at every evaluation, and differences to dense of the same seeds at the end."""
    found = [
        row
        for setting in options.settings
        for seed in options.seeds
        for path in [options.out / f"{options.task}-{setting}-{seed}.json"]
        if path.exists()
        for row in json.loads(path.read_text("utf-8"))
    ]
    steps = sorted({row["step"] for row in found})
    print(f"\n| {options.task} | seeds | " + " | ".join(f"{step:,}" for step in steps) + " | steps/s |")
    print("| -- | -- |" + " -: |" * (len(steps) + 1))
    last = {}
    for setting in options.settings:
        rows = [row for row in found if row["setting"] == setting]
        if not rows:
            continue
        cells = []
        for step in steps:
            values = [row["return"] for row in rows if row["step"] == step]
            cells.append(f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})")
        last[setting] = {row["seed"]: row for row in rows if row["step"] == steps[-1]}
        first = {row["seed"]: row for row in rows if row["step"] == steps[0]}
        speeds = [
            (row["step"] - first[seed]["step"]) / (row["seconds"] - first[seed]["seconds"])
            for seed, row in last[setting].items()
            if row["step"] > steps[0]
        ]
        speed = np.median(speeds) if speeds else np.nan
        print(f"| `{setting}` | {len(last[setting])} | {' | '.join(cells)} | {speed:.0f} |")
    for setting in [each for each in last if each != "dense"]:
        pairs = [
            last[setting][seed]["return"] - last["dense"][seed]["return"]
            for seed in last[setting].keys() & last.get("dense", {}).keys()
        ]
        if pairs:
            print(
                f"{setting} − dense, same seeds: {np.mean(pairs):+.2f} ({min(pairs):+.2f} to {max(pairs):+.2f})"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default="Reacher-v5")
    parser.add_argument("--library", choices=("stable_baselines3", "sbx"), default="stable_baselines3")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--every", type=int, default=5_000, help="steps between evaluations")
    parser.add_argument("--episodes", type=int, default=50, help="episodes of an evaluation")
    parser.add_argument(
        "--settings", nargs="*", default=SETTINGS, help="dense, episodic, or a method of lare"
    )
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("results/sb3"))
    parser.add_argument("--cost", action="store_true", help="measure what credit adds to a step, and stop")
    parser.add_argument("--run", nargs=2, metavar=("SETTING", "SEED"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        train(arguments.run[0], int(arguments.run[1]), arguments)
    elif arguments.cost:
        cost(arguments)
    else:
        arguments.out.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(arguments.workers) as pool:
            jobs = [(setting, seed) for seed in arguments.seeds for setting in arguments.settings]
            list(pool.map(lambda job: start(*job, arguments), jobs))
        report(arguments)
