"""Throughput of many seeds that train in lockstep, on whatever device JAX has.

    python benchmarks/lockstep.py --seeds 1 8 32 --steps 1000

The compiled update serves all seeds at once; environments are stepped one after the other on the host. The
column ``without learning`` is the same loop during the random warm-up: what environments and host cost.
"""

import argparse
import time

import jax

from latent_reward import load_encoder, load_task
from latent_reward.agents.td3 import TD3
from latent_reward.credit.methods import find_method
from latent_reward.task.open import open_environment
from latent_reward.training.config import RunConfig
from latent_reward.training.off_policy import OffPolicy
from latent_reward.training.plan import make_plan
from latent_reward.training.run import make_training


def seconds(training: OffPolicy, steps: int) -> float:
    """Time for ``steps`` steps of every seed, device included."""
    jax.block_until_ready(training.state)
    start = time.perf_counter()
    for _ in range(steps):
        training.advance()
    jax.block_until_ready(training.state)
    return time.perf_counter() - start


def measure(options: argparse.Namespace, seeds: int) -> tuple[float, float]:
    """Steps per second of each seed, learning and not learning."""
    task, method = load_task(options.task), find_method(options.method, "replay")
    warmup = 3 * task.max_steps
    settings = {
        "steps": options.buffer_size,
        "buffer_size": options.buffer_size,
        "warmup": warmup,
        "evaluation_episodes": 1,
    }
    config = RunConfig(task.name, method, tuple(range(seeds)), plan=make_plan(TD3(), settings))
    encoder = None if method.credit.latents == "none" else load_encoder(task)
    training = make_training(config, open_environment(task), (encoder,))
    try:
        seconds(training, 2 * task.max_steps)  # compiles `store`
        idle = seconds(training, warmup - training.step)
        seconds(training, options.warmup)  # compiles `update`
        return options.steps / seconds(training, options.steps), task.max_steps / idle
    finally:
        training.close()


def main() -> None:
    """Measure each number of seeds and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 8, 32], help="seeds in lockstep")
    parser.add_argument("--steps", type=int, default=1000, help="timed learning steps of each seed")
    parser.add_argument("--warmup", type=int, default=50, help="learning steps before the clock starts")
    parser.add_argument("--task", default="HalfCheetah-v5")
    parser.add_argument("--method", default="lare")
    parser.add_argument("--buffer-size", type=int, default=100_000, help="transitions kept for each seed")
    options = parser.parse_args()
    device = jax.devices()[0]
    print(f"{options.task}, {options.method}, on {device.platform}: {device.device_kind}")
    print("| seeds | steps/s of each seed | steps/s of all | without learning, all |")
    print("| --- | --- | --- | --- |")
    for seeds in options.seeds:
        learning, idle = measure(options, seeds)
        print(f"| {seeds} | {learning:.1f} | {learning * seeds:,.0f} | {idle * seeds:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
