"""How well the bundled encoders assign credit to the agents of a team: a study without a learning agent.

    python benchmarks/team_credit_study.py cn-6 area --draws 0 1 2

Agents play somewhere between at random and straight for what they seek, each episode at another place between
the two. The team's decoder learns from the returns of three quarters of the episodes, and is judged by the rest. A
row says: how much of the variance of unseen returns the proxy rewards explain; their correlation with the
hidden rewards, of all agents in all steps; and rows encoded per second, in batches of ``--rows``.
"""

import argparse
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import latent_reward as lr
from latent_reward.credit.base import CreditSpec
from latent_reward.credit.methods import find_method
from latent_reward.credit.per_step import Batch, Decoder
from latent_reward.envs.worlds import find_world
from latent_reward.task.load import task_names
from latent_reward.task.task import Task

CREDIT = find_method("lare-rd", "episodes").credit
ROWS_PER_UPDATE = 6_000
# The fields whose first entry an agent goes for, or away from.
SOUGHT = {"agents": "landmarks", "predators": "prey"}
SHUNNED = {"prey": "predators"}


def wish(task: Task, team: str, observation: jax.Array) -> jax.Array:
    """Where each agent wants to go: ``[agent, 2]``."""
    see = {each.name: observation[:, each.index : each.indices.stop] for each in task.observation}
    if task.name == "area":
        return -see["others"][:, :2] - see["others"][:, 2:]
    if team in SOUGHT:
        return see[SOUGHT[team]][:, :2]
    return -see[SHUNNED[team]][:, :2]


def behave(tasks: list[Task], teams: list[str], seen: tuple, whim: jax.Array, key: jax.Array) -> jax.Array:
    """An action for every agent: with probability ``whim`` any, else the push that its wish calls for."""
    chosen = []
    for task, team, observation in zip(tasks, teams, seen, strict=True):
        x, y = (wish(task, team, observation) - 0.3 * observation[:, :2]).T
        chosen.append(jnp.argmax(jnp.stack([0 * x + 0.02, -x, x, -y, y]), axis=0))
    wanted = jnp.concatenate(chosen)
    k_whim, k_action = jax.random.split(key)
    at_whim = jax.random.uniform(k_whim, wanted.shape) < whim
    return jnp.where(at_whim, jax.random.randint(k_action, wanted.shape, 0, 5), wanted)


@partial(jax.jit, static_argnums=(0, 1))
def play(name: str, episodes: int, key: jax.Array) -> tuple[tuple, jax.Array, jax.Array]:
    """Per team the observations reached, then actions and rewards of all agents; ``[episode, time, agent, …]``."""
    world, tasks = find_world(name), list(lr.load_task(name).descriptions)
    teams = [team.name for team in world.teams]

    def episode(key):
        k_reset, k_whim, k_steps = jax.random.split(key, 3)
        whim = jax.random.uniform(k_whim)

        def step(state, key):
            k_action, k_step = jax.random.split(key)
            action = behave(tasks, teams, world.observe(state), whim, k_action)
            state, reward, _ = world.step(state, action, k_step)
            return state, (world.observe(state), world.teams[0].actions.as_numbers(action), reward)

        return jax.lax.scan(step, world.reset(k_reset), jax.random.split(k_steps, world.horizon))[1]

    return jax.lax.map(episode, jax.random.split(key, episodes), batch_size=64)


def encode(encoder: lr.Encoder, observation: jax.Array, action: jax.Array) -> jax.Array:
    """Latents of rows with any leading axes."""
    rows = [each.reshape(-1, each.shape[-1]) for each in (observation, action)]
    return encoder.encode(*rows).reshape(*observation.shape[:-1], -1)


def encoding_rate(encoder: lr.Encoder, observation: jax.Array, action: jax.Array, rows: int) -> float:
    """Rows encoded per second, the median of nine batches of ``rows``."""
    batch = [
        jnp.resize(each.reshape(-1, each.shape[-1]), (rows, each.shape[-1])) for each in (observation, action)
    ]
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        encoder.encode(*batch).block_until_ready()
        seconds.append(time.perf_counter() - began)
    return rows / float(np.median(seconds[1:]))


def fit(encoder: lr.Encoder, latents: jax.Array, returns: jax.Array, updates: int, key: jax.Array) -> Decoder:
    """A decoder after ``updates`` steps on batches of episodes ``[episode, time, agent, latent]``."""
    episodes, steps, agents, _ = latents.shape
    batch = max(8, min(256, ROWS_PER_UPDATE // (steps * agents)))
    spec = CreditSpec(0, 0, agents, steps, encoder)

    def update(carry, key):
        drawn = jax.random.randint(key, (batch,), 0, episodes)
        window = Batch(
            latents[drawn], jnp.ones((batch, steps, agents), bool), returns[drawn], jnp.full(batch, steps)
        )
        return CREDIT.update(spec, carry, window)

    start = CREDIT.init(spec, key)
    return jax.jit(lambda: jax.lax.scan(update, start, jax.random.split(key, updates))[0])()


def study(task: Task, draw: int, played: tuple, updates: int, rows: int) -> tuple[float, float, float]:
    """(explained variance of unseen returns, correlation with hidden rewards, rows per second)."""
    observation, action, reward = played
    encoder = lr.load_encoder(task, draw)
    latents, returns = encode(encoder, observation, action), reward.sum(axis=(1, 2))
    known = 3 * len(returns) // 4
    decoder = fit(encoder, latents[:known], returns[:known], updates, jax.random.key(1))
    proxy = np.asarray(CREDIT.reward(decoder, latents[known:], jnp.ones(reward[known:].shape, bool)))
    missed = proxy.sum(axis=(1, 2)) - np.asarray(returns[known:])
    explained = 1 - missed.var() / np.asarray(returns[known:]).var()
    correlation = np.corrcoef(proxy.ravel(), np.asarray(reward[known:]).ravel())[0, 1]
    return float(explained), float(correlation), encoding_rate(encoder, observation, action, rows)


def main() -> None:
    """Prints one line per team and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    worlds = [name for name in task_names() if name.split("-")[0] in ("cn", "pp", "competitive", "area")]
    parser.add_argument("worlds", nargs="*", default=worlds, help="default: all")
    parser.add_argument("--draws", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--episodes", type=int, default=512)
    parser.add_argument("--updates", type=int, default=1500)
    parser.add_argument("--rows", type=int, default=20_000)
    arguments = parser.parse_args()
    print(f"{'team':28s} draw  explained  correlation  rows/s")
    for name in arguments.worlds:
        seen, action, reward = play(name, arguments.episodes, jax.random.key(0))
        begin = 0
        for task, observation in zip(lr.load_task(name).descriptions, seen, strict=True):
            members = slice(begin, begin + observation.shape[2])
            begin = members.stop
            played = (observation, action[:, :, members], reward[:, :, members])
            for draw in arguments.draws:
                explained, correlation, rate = study(task, draw, played, arguments.updates, arguments.rows)
                print(
                    f"{task.name:28s} {draw:4d}  {explained:9.3f}  {correlation:11.3f}  {rate:9,.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
