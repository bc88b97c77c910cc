"""How much memory the buffer takes: computed for every built-in task of one agent, and measured for one if asked.

    python benchmarks/replay_memory.py                                    # allocates nothing
    python benchmarks/replay_memory.py --fill HalfCheetah-v5 --transitions 200000

The last column is the common layout, computed for comparison: o and o′ both stored, every number in float64.
"""

import argparse
import math
import resource
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp

from latent_reward import load_encoder, load_task
from latent_reward.credit.base import CreditSpec
from latent_reward.credit.methods import METHODS
from latent_reward.data import buffer as ring
from latent_reward.data.episodes import Episodes
from latent_reward.task.load import task_names
from latent_reward.task.task import Task

MEGA = 1e6


def buffer_of(task: Task, transitions: int):
    """A function that makes the buffer of ``lare``, with the latents of the bundled encoder."""
    spec = CreditSpec(task.observation_size, task.action_size, 1, task.max_steps, load_encoder(task))
    method = METHODS["lare"].replay
    return partial(
        ring.init,
        transitions,
        task.max_steps,
        1,
        observation=task.observation_size,
        action=task.action_size,
        features=method.feature_size(spec) - method.derived_size(spec),
    )


def size(tree) -> int:
    """Bytes of all arrays, or of their shapes."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def table(transitions: int) -> None:
    """Print one line per built-in task; only shapes are computed."""
    print(f"| task | stored latents | buffer of {transitions:,}, MB | two float64 observations, MB |")
    print("| --- | --- | --- | --- |")
    for name in task_names():
        task = load_task(name)
        if not isinstance(task, Task):
            continue
        shapes = jax.eval_shape(buffer_of(task, transitions))
        common = transitions * 8 * (2 * task.observation_size + task.action_size + 2)
        latents = shapes.steps.features.shape[-1]
        print(f"| {name} | {latents} | {size(shapes) / MEGA:,.0f} | {common / MEGA:,.0f} |")


def resident() -> float:
    """Memory of this process in MB: now where the system tells it, else its peak."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / MEGA
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGA  # macOS counts bytes


def fill(name: str, transitions: int) -> None:
    """Fill a buffer with full-length episodes and print what the process grew by."""
    task = load_task(name)
    if not isinstance(task, Task):
        raise SystemExit(f"fill: {name} is a task of teams; give one of one agent")
    make, horizon = buffer_of(task, transitions), task.max_steps
    latents = jax.eval_shape(make).steps.features.shape[-1]
    insert = jax.jit(ring.insert, donate_argnums=0)

    def episode(key):
        keys = jax.random.split(key, 3)
        there = jnp.ones((1, horizon, 1), bool)
        steps = Episodes(
            jax.random.normal(keys[0], (1, horizon + 1, 1, task.observation_size)),
            jax.random.normal(keys[1], (1, horizon, 1, task.action_size)),
            there,
            ~there,
            jnp.ones(1),
            jnp.ones(there.shape),
        )
        return steps, steps.action, jax.random.normal(keys[2], (1, horizon, 1, latents))

    draw = jax.jit(episode)
    jax.block_until_ready(draw(jax.random.key(0)))
    before = resident()
    buffer = jax.jit(make)()
    for number in range(transitions // horizon):
        buffer = insert(buffer, *draw(jax.random.key(number)))
    jax.block_until_ready(buffer)
    grown = resident() - before
    print(
        f"{name}: {int(ring.size(buffer)):,} transitions, computed {size(buffer) / MEGA:.0f} MB, "
        f"process grew by {grown:.0f} MB (code compiled on the way included)"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--transitions", type=int, default=1_000_000)
    parser.add_argument("--fill", metavar="TASK", help="fill a buffer of this task and measure it")
    options = parser.parse_args()
    if options.fill:
        fill(options.fill, options.transitions)
    else:
        table(options.transitions)
