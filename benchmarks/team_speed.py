"""What a training iteration of teams costs, and which of its parts takes the time.

``python benchmarks/team_speed.py`` runs iterations of ``lare`` (82 episodes, all epochs of PPO, the decoder's
updates) on one core and prints environment steps (of all agents together) per second of this process's time, the
middle of a few repeats, and the milliseconds of each part: episodes alone, PPO as the rest of a ``dense`` iteration,
the decoder's updates as what is saved without them, and what is left: encoding, storing, decoding. With
``--counterfactual idle`` PPO also has the episodes that are played again and their true rewards, and what is left their
encoding and decoding.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace

REPEATS, ITERATIONS = 5, 3


def middle(call) -> float:
    """Milliseconds of processor time of a call, the middle of a few after one that compiles."""
    call()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        times.append(1e3 * (time.process_time() - start))
    return sorted(times)[REPEATS // 2]


def parts(name: str, seeds: int, counterfactual: str) -> dict[str, float]:
    """Milliseconds per iteration of one world: in all, and by part."""
    import jax
    import jax.numpy as jnp

    from latent_reward import load_encoder, load_task
    from latent_reward.agents.ppo import PPO
    from latent_reward.credit.methods import find_method
    from latent_reward.envs.rollout import play
    from latent_reward.envs.worlds import find_world
    from latent_reward.training import from_episodes as core
    from latent_reward.training.learner import team_learners
    from latent_reward.training.on_policy import episode_learner
    from latent_reward.training.plan import make_plan

    plan, world = make_plan(PPO(), {"counterfactual": counterfactual}), find_world(name)
    fitting = plan.experience

    def learner(method: str, updates: int) -> core.EpisodeLearner:
        credit = find_method(method, "episodes").credit
        encoders = tuple(
            None if credit.latents == "none" else load_encoder(each) for each in load_task(name).descriptions
        )
        changed = replace(plan, experience=replace(fitting, first_updates=updates, updates=updates))
        return episode_learner(team_learners(world, credit, plan.agent, encoders), changed)

    keys = jax.random.split(jax.random.key(0), seeds)

    def iteration(method: str, updates: int) -> float:
        fixed = learner(method, updates)
        states = [core.init(fixed, keys)]

        def call():
            states[0], measures = core.advance(
                fixed, world, states[0], keys, jnp.int32(1), jnp.int32(1 + ITERATIONS)
            )
            jax.block_until_ready(measures)

        return middle(call) / ITERATIONS

    fixed = learner("dense", 0)
    policies = core.policies(fixed, jax.tree.map(lambda leaf: leaf[0], core.init(fixed, keys)))
    alone = jax.jit(lambda key: jax.tree.map(jnp.sum, play(world, policies, key, fitting.episodes)))
    episodes = seeds * middle(lambda: jax.block_until_ready(alone(jax.random.key(0))))
    whole, unfitted = iteration("lare", fitting.updates), iteration("lare", 0)
    dense = iteration("dense", 0)
    return {
        "steps/s": 1e3 * seeds * fitting.episodes * world.horizon / whole,
        "iteration": whole,
        "episodes": episodes,
        "PPO": dense - episodes,
        "decoder": whole - unfitted,
        "rest": unfitted - dense,
    }


def main() -> None:
    """Measure each world in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", nargs="+", default=["cn-6", "cn-15", "cn-30"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--counterfactual", default="none", choices=["none", "idle"])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core, whatever JAX would start
        print(json.dumps(parts(options.one, options.seeds, options.counterfactual)))
        return
    flags = os.environ | {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    for number, name in enumerate(options.worlds):
        command = [sys.executable, __file__, "--one", name, "--seeds", str(options.seeds)]
        command += ["--counterfactual", options.counterfactual]
        figures = json.loads(subprocess.check_output(command, env=flags).splitlines()[-1])
        if number == 0:
            print(f"{'world':12s}" + "".join(f"{each:>12s}" for each in figures) + "   (ms but the first)")
        print(f"{name:12s}" + "".join(f"{each:12,.0f}" for each in figures.values()), flush=True)


if __name__ == "__main__":
    main()
