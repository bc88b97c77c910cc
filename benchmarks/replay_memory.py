"""How much memory the replay takes: computed for every built-in task of one agent, and measured for one if asked.

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
from latent_reward.credit.features import feature_size
from latent_reward.credit.methods import METHODS, Learned
from latent_reward.task.load import task_names
from latent_reward.task.task import Task
from latent_reward.training import replay as ring

MEGA = 1e6


def replay_of(task: Task, transitions: int):
    """A function that makes the replay of ``lare``, with the latents of the bundled encoder."""
    credit = METHODS["lare"].credit
    assert isinstance(credit, Learned)
    latents = feature_size(credit, load_encoder(task), task.observation_size, task.action_size)
    sizes = (task.observation_size, task.action_size, latents)
    return partial(ring.init, transitions, task.max_steps, *sizes, False)


def size(tree) -> int:
    """Bytes of all arrays, or of their shapes."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def table(transitions: int) -> None:
    """Print one line per built-in task; only shapes are computed."""
    print(f"| task | stored latents | replay of {transitions:,}, MB | two float64 observations, MB |")
    print("| --- | --- | --- | --- |")
    for name in task_names():
        task = load_task(name)
        if not isinstance(task, Task):
            continue
        shapes = jax.eval_shape(replay_of(task, transitions))
        common = transitions * 8 * (2 * task.observation_size + task.action_size + 2)
        latents = shapes.features.shape[1]
        print(f"| {name} | {latents} | {size(shapes) / MEGA:,.0f} | {common / MEGA:,.0f} |")


def resident() -> float:
    """Memory of this process in MB: now where the system tells it, else its peak."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / MEGA
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGA  # macOS counts bytes


def fill(name: str, transitions: int) -> None:
    """Fill a replay with full-length episodes and print what the process grew by."""
    task = load_task(name)
    if not isinstance(task, Task):
        raise SystemExit(f"fill: {name} is a task of teams; give one of one agent")
    make, horizon = replay_of(task, transitions), task.max_steps
    insert = jax.jit(ring.insert, donate_argnums=0)

    def episode(key):
        keys = jax.random.split(key, 3)
        features = jax.random.normal(keys[2], (horizon, jax.eval_shape(make).features.shape[1]))
        steps = ring.Episode(
            jax.random.normal(keys[0], (horizon + 1, task.observation_size)),
            jax.random.normal(keys[1], (horizon, task.action_size)),
            jnp.ones(horizon),
            jnp.asarray(False),
            jnp.asarray(horizon, jnp.int32),
        )
        return steps, features, jnp.zeros((horizon, 0))

    draw = jax.jit(episode)
    jax.block_until_ready(draw(jax.random.key(0)))
    before = resident()
    replay = jax.jit(make)()
    for number in range(transitions // horizon):
        replay = insert(replay, *draw(jax.random.key(number)))
    jax.block_until_ready(replay)
    grown = resident() - before
    print(
        f"{name}: {int(ring.size(replay)):,} transitions, computed {size(replay) / MEGA:.0f} MB, "
        f"process grew by {grown:.0f} MB (code compiled on the way included)"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--transitions", type=int, default=1_000_000)
    parser.add_argument("--fill", metavar="TASK", help="fill a replay of this task and measure it")
    options = parser.parse_args()
    if options.fill:
        fill(options.fill, options.transitions)
    else:
        table(options.transitions)
