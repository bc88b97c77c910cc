"""Steps per second of TD3 with latent rewards against plain TD3 of Stable-Baselines3 and of SBX.

    python benchmarks/off_policy_speed.py --threads 1

Ours assigns credit (decoder update and decoding in every step); the other two are given the dense reward and
do less. The rest is equal: HalfCheetah-v5, networks 256-256, batch 256, a replay of one million transitions,
one gradient step per environment step, exploration noise 0.1. Each measurement is a process of its own
on the same few cores; contestants take turns, so that noise of the machine hits all alike. The clock
starts after a warm-up in which everything is compiled. The other two come with the extra ``sb3``.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

TASK = "HalfCheetah-v5"
EPISODE = 1000  # every episode of the task has so many steps; the first one is random in every contestant
HIDDEN, BATCH, REPLAY, NOISE, RATE = (256, 256), 256, 1_000_000, 0.1, 3e-4
PACKAGES = {"lare": "latent_reward", "SB3": "stable_baselines3", "SBX": "sbx"}


def time_lare(method: str, warmup: int, steps: int, threads: int) -> float:
    """Seconds for ``steps`` learning steps of the training loop that ``lare train`` runs."""
    from latent_reward import load_encoder, load_task  # isort: skip - it tells JAX how many cores there are

    import jax

    from latent_reward.agents.td3 import TD3
    from latent_reward.credit.methods import find_method
    from latent_reward.task.open import open_environment
    from latent_reward.training.config import RunConfig
    from latent_reward.training.plan import make_plan
    from latent_reward.training.run import make_training

    task, recipe = load_task(TASK), find_method(method, "replay")
    agent = TD3(exploration_noise=NOISE, learning_rate=RATE, hidden=HIDDEN)
    settings = {
        "steps": REPLAY,
        "warmup": EPISODE,
        "evaluation_episodes": 1,
        "batch_size": BATCH,
        "buffer_size": REPLAY,
    }
    config = RunConfig(task.name, recipe, plan=make_plan(agent, settings))
    encoder = None if recipe.credit.latents == "none" else load_encoder(task)
    training = make_training(config, open_environment(task), (encoder,))
    for _ in range(EPISODE + warmup):
        training.advance()
    jax.block_until_ready(training.state)
    start = time.perf_counter()
    for _ in range(steps):
        training.advance()
    jax.block_until_ready(training.state)
    return time.perf_counter() - start


def time_peer(algorithm: type, settings: dict, wait: Callable, warmup: int, steps: int) -> float:
    """Seconds for ``steps`` learning steps of an algorithm with the interface of Stable-Baselines3."""
    import numpy as np
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.noise import NormalActionNoise

    class Clock(BaseCallback):
        """Notes when the warm-up is over."""

        started = 0.0

        def _on_step(self) -> bool:
            if self.num_timesteps == EPISODE + warmup:
                wait(self.model)
                self.started = time.perf_counter()
            return True

    model = algorithm(
        "MlpPolicy", TASK, learning_rate=RATE, buffer_size=REPLAY, learning_starts=EPISODE, batch_size=BATCH,
        train_freq=1, gradient_steps=1, action_noise=NormalActionNoise(np.zeros(6), np.full(6, NOISE)),
        policy_kwargs={"net_arch": list(HIDDEN)}, seed=0, **settings,
    )  # fmt: skip
    clock = Clock()
    model.learn(EPISODE + warmup + steps, callback=clock)
    wait(model)
    return time.perf_counter() - clock.started


def time_sb3(method: str, warmup: int, steps: int, threads: int) -> float:
    """Seconds of Stable-Baselines3's TD3 (PyTorch)."""
    import torch
    from stable_baselines3 import TD3

    torch.set_num_threads(threads)
    return time_peer(TD3, {"device": "cpu"}, lambda model: None, warmup, steps)


def time_sbx(method: str, warmup: int, steps: int, threads: int) -> float:
    """Seconds of SBX's TD3 (JAX)."""
    import jax
    import torch
    from sbx import TD3

    torch.set_num_threads(threads)
    wait = lambda model: jax.block_until_ready(model.policy.qf_state.params)  # noqa: E731
    return time_peer(TD3, {}, wait, warmup, steps)


CONTESTANTS = {"lare": time_lare, "SB3": time_sb3, "SBX": time_sbx}


def measure(name: str, options: argparse.Namespace) -> float:
    """Steps per second of one contestant, measured in a process of its own."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[variable] = str(options.threads)
    if options.threads == 1:
        environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    command = [sys.executable, __file__, "--measure", name, "--method", options.method]
    for option in ("threads", "steps", "warmup"):
        command += [f"--{option}", str(getattr(options, option))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    return options.steps / json.loads(done.stdout.splitlines()[-1])["seconds"]


def child(name: str, options: argparse.Namespace) -> None:
    """Measure inside the process that ``measure`` started."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    seconds = CONTESTANTS[name](options.method, options.warmup, options.steps, options.threads)
    print(json.dumps({"seconds": seconds}))


def compare(options: argparse.Namespace) -> None:
    """Measure every contestant in turn and print steps per second and ratios."""
    names = [name for name, package in PACKAGES.items() if importlib.util.find_spec(package)]
    absent = [name for name in PACKAGES if name not in names]
    if absent:
        print(f"not installed, left out: {', '.join(absent)} (they come with the extra: latent-reward[sb3])")
    speeds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(options.rounds):
        for name in names:
            speeds[name].append(measure(name, options))
        shown = "  ".join(f"{name} {speeds[name][-1]:.1f}" for name in names)
        print(f"round {number + 1}: {shown} steps/s", flush=True)
    print(f"\n{TASK}, {options.threads} thread(s), {options.steps} steps per round, lare = {options.method}")
    for name, each in speeds.items():
        print(f"{name:5} median {statistics.median(each):7.1f} steps/s  ({min(each):.1f} to {max(each):.1f})")
    for name in names[1:]:
        ratios = [ours / theirs for ours, theirs in zip(speeds["lare"], speeds[name], strict=True)]
        print(
            f"lare/{name}: median {statistics.median(ratios):.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, choices=(1, 2), default=1, help="cores and threads of each")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each contestant")
    parser.add_argument("--steps", type=int, default=3000, help="timed steps per measurement")
    parser.add_argument("--warmup", type=int, default=500, help="learning steps before the clock starts")
    parser.add_argument("--method", default="lare", help="how ours assigns credit (`lare methods`)")
    parser.add_argument("--measure", choices=tuple(CONTESTANTS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        child(arguments.measure, arguments)
    else:
        compare(arguments)
