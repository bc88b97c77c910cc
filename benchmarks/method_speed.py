"""What every method of credit costs: steps per second, relative to ``dense`` with the same learner in the same run.

``python benchmarks/method_speed.py`` trains each method on one core, HalfCheetah-v5 with TD3 and cn-6 with PPO. All
methods take turns, a few hundred steps or an iteration at a time, so that noise of the machine hits all alike. It
counts this process's own time, after everything is compiled, and prints the middle of the turns. Cost is time divided
by that of ``dense`` in the same round. On a busy machine these figures scatter: compare the columns, and repeat.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

STEPS = 320  # of a turn; every method's updates that come in turns are due equally often in so many
EPISODE = 1000


def turns_of_replay(task: str, name: str) -> tuple[Callable[[], None], int]:
    """A turn of an agent that learns from replay, after a first episode, and its steps."""
    import jax

    from latent_reward import load_encoder, load_task
    from latent_reward.agents.td3 import TD3
    from latent_reward.credit.methods import find_method
    from latent_reward.task.open import open_environment
    from latent_reward.training.config import RunConfig
    from latent_reward.training.plan import make_plan
    from latent_reward.training.run import make_training

    found, recipe = load_task(task), find_method(name, "replay")
    settings = {"steps": 10**6, "warmup": EPISODE, "evaluation_episodes": 1, "buffer_size": 20_000}
    config = RunConfig(found.name, recipe, plan=make_plan(TD3(), settings))
    encoder = None if recipe.credit.latents == "none" else load_encoder(found)
    training = make_training(config, open_environment(found), (encoder,))
    while training.step < EPISODE:
        training.advance(EPISODE)

    def turn() -> None:
        end = training.step + STEPS
        while training.step < end:
            training.advance(end)
        jax.block_until_ready(training.states)

    return turn, STEPS


def turns_of_episodes(task: str, name: str) -> tuple[Callable[[], None], int]:
    """An iteration of a team after its first, and its steps."""
    import jax
    import jax.numpy as jnp

    from latent_reward import load_encoder, load_task
    from latent_reward.agents.ppo import PPO
    from latent_reward.credit.methods import find_method
    from latent_reward.envs.worlds import find_world
    from latent_reward.training import from_episodes as core
    from latent_reward.training.learner import team_learners
    from latent_reward.training.on_policy import episode_learner
    from latent_reward.training.plan import Fresh, make_plan

    plan, world, credit = make_plan(PPO(), {}), find_world(task), find_method(name, "episodes").credit
    encoders = tuple(
        None if credit.latents == "none" else load_encoder(each) for each in load_task(task).descriptions
    )
    learner = episode_learner(team_learners(world, credit, plan.agent, encoders), plan)
    keys = jax.random.split(jax.random.key(0), 1)
    states = [core.init(learner, keys)]

    def turn() -> None:
        states[0], measures = core.advance(learner, world, states[0], keys, jnp.int32(1), jnp.int32(2))
        jax.block_until_ready(measures)

    return turn, Fresh().episodes * world.horizon


def measure(task: str, names: list[str], rounds: int) -> dict[str, tuple[float, float]]:
    """Steps per second and cost relative to ``dense`` of each method on one task."""
    from latent_reward.credit.methods import METHODS
    from latent_reward.envs.worlds import WORLDS
    from latent_reward.errors import LareError

    experience = "episodes" if task in WORLDS else "replay"
    make = turns_of_episodes if experience == "episodes" else turns_of_replay
    known = [name for name, entry in METHODS.items() if entry.settings(experience) is not None]
    turns, steps = {}, 0
    for name in ["dense", *(each for each in names or known if each in known and each != "dense")]:
        if name == "llm-reward" or (experience == "replay" and _refused(task, name)):
            continue  # no encoder with one latent is bundled; attention over 1,000 steps is refused
        try:
            turns[name], steps = make(task, name)
        except LareError as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        turns[name]()  # compiles
        print(f"{name} is ready", file=sys.stderr)
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            start = time.process_time()
            turn()
            seconds[name].append(time.process_time() - start)
    return {
        name: (
            steps / statistics.median(took),
            statistics.median(one / other for one, other in zip(took, seconds["dense"], strict=True)),
        )
        for name, took in seconds.items()
    }


def _refused(task: str, name: str) -> bool:
    """Whether the method cannot work on the task of one agent."""
    from latent_reward import load_task
    from latent_reward.credit.base import CreditSpec
    from latent_reward.credit.methods import METHODS

    credit = METHODS[name].replay
    (one,) = load_task(task).descriptions
    spec = CreditSpec(one.observation_size, one.action_size, 1, one.max_steps)
    return credit is None or bool(credit.refusal(spec))


def main() -> None:
    """Measure each task in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=["HalfCheetah-v5", "cn-6"])
    parser.add_argument("--methods", nargs="+", default=[], help="all that work on the task by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core, whatever JAX would start
        print(json.dumps(measure(options.one, options.methods, options.rounds)))
        return
    flags = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    for task in options.tasks:
        command = [sys.executable, __file__, "--one", task, "--rounds", str(options.rounds)]
        command += ["--methods", *options.methods] if options.methods else []
        figures = json.loads(subprocess.check_output(command, env=flags).splitlines()[-1])
        print(f"\n| {task} | steps/s | cost |\n| -- | --: | --: |")
        for name, (speed, cost) in sorted(figures.items(), key=lambda each: each[1][1]):
            print(f"| `{name}` | {speed:,.0f} | {cost:.2f} |", flush=True)


if __name__ == "__main__":
    main()
