"""How fast are the particle worlds alone? Against simple_spread of mpe2, and of JaxMARL where that is installed.

``python benchmarks/particle_speed.py`` plays random actions in 64 worlds, observations and rewards computed
in every step, resets counted, all on one thread, and prints environment steps (of all agents together) per
second of this process's time. JaxMARL may be in another environment: ``--jaxmarl OTHER/bin/python`` runs it there,
in turns with ours.
"""

import argparse
import json
import os
import subprocess
import sys
import time

WORLDS, HORIZON, REPEATS = 64, 25, 7


def best_rate(call, steps: int) -> float:
    """Steps per second of processor time, the best of a few calls after one that compiles."""
    call()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return steps / min(times)


def compiled(reset, step, agents: int, actions_first: bool) -> float:
    """Rate of a world of JAX: ``reset`` keys to (state, …), ``step`` keys, state, actions to state and numbers."""
    import jax
    import jax.numpy as jnp

    episodes = 16 if agents < 15 else 2

    def move(carry, key):
        state, total = carry
        k_action, k_step = jax.random.split(key)
        shape = (agents, WORLDS) if actions_first else (WORLDS, agents)
        action = jax.random.randint(k_action, shape, 0, 5)
        state, *numbers = step(jax.random.split(k_step, WORLDS), state, action)
        return (state, total + sum(leaf.sum() for leaf in jax.tree.leaves(numbers))), None

    def episode(total, key):
        k_reset, k_steps = jax.random.split(key)
        state = reset(jax.random.split(k_reset, WORLDS))
        (_, total), _ = jax.lax.scan(move, (state, total), jax.random.split(k_steps, HORIZON))
        return total, None

    play = jax.jit(lambda key: jax.lax.scan(episode, jnp.zeros(()), jax.random.split(key, episodes))[0])
    return best_rate(lambda: play(jax.random.key(0)).block_until_ready(), episodes * HORIZON * WORLDS)


def ours(name: str) -> float:
    """One of our worlds."""
    import jax

    from latent_reward.envs.worlds import find_world

    world = find_world(name)

    def step(keys, state, action):
        outcome = jax.vmap(world.step)(state, action, keys)
        return outcome.state, jax.vmap(world.observe)(outcome.state), outcome.reward

    return compiled(jax.vmap(world.reset), step, sum(team.agents for team in world.teams), False)


def jaxmarl(agents: int) -> float:
    """JaxMARL's simple_spread, as many landmarks as agents; without its automatic reset, which we do not count on."""
    import jax
    from jaxmarl import make

    env = make("MPE_simple_spread_v3", num_agents=agents, num_landmarks=agents)

    def step(keys, state, action):
        named = dict(zip(env.agents, action, strict=True))
        seen, state, reward, *_ = jax.vmap(env.step_env)(keys, state, named)
        return state, seen, reward

    return compiled(lambda keys: jax.vmap(env.reset)(keys)[1], step, agents, True)


def mpe2(agents: int) -> float:
    """The simple_spread of mpe2, one world at a time: it knows no batch."""
    import numpy as np
    from mpe2 import simple_spread_v3

    env = simple_spread_v3.parallel_env(N=agents, max_cycles=HORIZON)
    generator = np.random.default_rng(0)

    def play():
        env.reset(seed=0)
        while env.agents:
            env.step(dict(zip(env.agents, generator.integers(0, 5, agents), strict=True)))

    return best_rate(play, HORIZON)


def measure(what: str, argument: str, python: str) -> float:
    """A figure from a process of its own, so that no one's threads or caches help another."""
    command = [python, __file__, "--one", what, argument]
    flags = os.environ | {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    return json.loads(subprocess.check_output(command, env=flags).splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jaxmarl", metavar="PYTHON", help="an interpreter that has jaxmarl")
    parser.add_argument("--worlds", nargs="+", default=["cn-6", "cn-30"])
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core, whatever JAX would start
        what, argument = options.one
        rate = ours(argument) if what == "ours" else globals()[what](int(argument))
        print(json.dumps(rate))
        return
    for name in options.worlds:
        rate = measure("ours", name, sys.executable)
        print(f"{name:16s}{rate:12,.0f} steps/s")
        if not name.startswith("cn-"):
            continue
        others = {"mpe2": sys.executable, "jaxmarl": options.jaxmarl}
        for other, python in others.items():
            if python:
                theirs = measure(other, name.removeprefix("cn-"), python)
                print(f"  {other:14s}{theirs:12,.0f} steps/s, ratio {rate / theirs:.1f}")


if __name__ == "__main__":
    main()
