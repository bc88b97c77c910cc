"""The worlds of the benchmark: one function each, and their names.

Worlds of one agent mostly lie on a track of seven cells, x = 0 … 6, seen as u = x/3 − 1 from −1 to 1; actions go left,
stay, go right. A season of four phases passes besides, seen as its cosine and sine. Agents of teams choose between two
actions.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from latent_reward.bench.world import Outcome, Truth, World, tabulate

_CELLS = 7
_COS, _SIN = (1, 0, -1, 0), (0, 1, 0, -1)
_BUMP = 1 / 3  # place of the bump
_PLACE = ("place", "season")


def _place(o: Any, a: Any) -> Any:
    return jnp.stack([o[:, 0], o[:, 1]], axis=-1)


def _track(
    name: str,
    summary: str,
    pay: Callable[[float, int, int], float],
    *,
    over: Callable[[float], float] = lambda u: 0.0,
    begin: tuple[int, ...] = (2, 3, 4),
    slip: float = 0.1,
    move: Callable[[int, int], int] = lambda x, a: x + a - 1,
    latents: Callable[..., Any] = _place,
    latent_names: tuple[str, ...] = _PLACE,
    truth: Truth = "reward",
    scale: float = 1.0,
    noise: float = 0.0,
    distractors: int = 0,
) -> World:
    """A world on the track.

    Args:
        name: what it is called.
        summary: what is paid.
        pay: reward from u after the step, the action and the phase after the step.
        over: probability that the episode ends, from u after the step.
        begin: cells to begin in.
        slip: probability that an action leaves the agent where it is.
        move: the cell that an action leads to, before it is kept on the track.
        latents: φ(o, a).
        latent_names: their names.
        truth: what credit truly is.
        scale: unit of the reward.
        noise: of rewards.
        distractors: columns of noise.
    """

    def step(state, action):
        x, phase = state
        after = min(max(move(x, action), 0), _CELLS - 1)
        phase = (phase + 1) % 4
        for chance, cell in ((1 - slip, after), (slip, x)) if slip and after != x else ((1.0, after),):
            u = cell / 3 - 1
            end = over(u)
            for share, stops in ((1 - end, False), (end, True)):
                if share:
                    yield Outcome(chance * share, (cell, phase), pay(u, action, phase), stops)

    def observe(state):
        u = state[0] / 3 - 1
        return u, _COS[state[1]], _SIN[state[1]], u * _COS[state[1]]

    begins = {(x, phase): 1 / (4 * len(begin)) for x in begin for phase in range(4)}
    return tabulate(
        name, summary, start=begins, step=step, observe=observe, latents=latents, latent_names=latent_names,
        truth=truth, scale=scale, noise=noise, distractors=distractors,
    )  # fmt: skip


def _hill(u: float, action: int, phase: int) -> float:
    return u + 0.5 * _COS[phase]


def linear() -> World:
    """What is paid is linear in what is seen."""
    return _track("linear", "reward linear in o′", _hill)


def distract(columns: int) -> World:
    """``linear`` among columns that say nothing."""
    return _track(
        f"distract-{columns}", f"linear with {columns} columns of noise", _hill, distractors=columns
    )


def noisy() -> World:
    """``linear`` with chance in what is paid and where actions lead."""
    return _track(
        "noisy",
        "linear, rewards with noise of σ = 2, a third of the moves fail",
        _hill,
        slip=1 / 3,
        noise=2.0,
    )


def _bump(u: float, action: int, phase: int) -> float:
    return float(np.exp(-8 * (u - _BUMP) ** 2))


def nonlinear() -> World:
    """One cell pays most, and its neighbours less."""

    def latents(o, a):
        return jnp.stack([jnp.exp(-8 * (o[:, 0] - _BUMP) ** 2), o[:, 1]], axis=-1)

    return _track(
        "nonlinear", "a bump over the place", _bump, latents=latents, latent_names=("closeness", "season")
    )


def missing() -> World:
    """``nonlinear`` with latents that say nothing of the place, which alone pays."""

    def latents(o, a):
        return jnp.stack([o[:, 1], o[:, 2]], axis=-1)

    return _track(
        "missing",
        "nonlinear, with latents that miss the place",
        _bump,
        latents=latents,
        latent_names=("cos", "sin"),
    )


def action() -> World:
    """The right action depends on the season, and where one is does not matter."""

    def latents(o, a):
        return jnp.stack([(a[:, 2] - a[:, 0]) * o[:, 2], a[:, 0] + a[:, 2]], axis=-1)

    def pay(u, action, phase):
        return (action - 1) * _SIN[(phase - 1) % 4] - 0.2 * (action != 1)

    return _track(
        "action",
        "the action times the season, less effort",
        pay,
        latents=latents,
        latent_names=("push", "effort"),
    )


def sparse() -> World:
    """1 for reaching the end of the track in time, and nothing else."""

    def latents(o, a):
        return jnp.stack([o[:, 0], 1.0 * (o[:, 0] > 0.9)], axis=-1)

    return _track(
        "sparse", "1 at the goal, which ends the episode", lambda u, action, phase: float(u > 0.9),
        over=lambda u: float(u > 0.9), begin=(0, 1, 2), slip=0.0, latents=latents, latent_names=("place", "arrived"),
        truth="advantage",
    )  # fmt: skip


def crash(name: str = "crash", scale: float = 1.0) -> World:
    """It pays to go near the edge, and costs most to go over it; no latent shows that."""
    summary = "u, and −10 at the edge, which ends the episode"
    return _track(
        name, summary if scale == 1 else f"crash in units of {scale:.0e}", lambda u, action, phase: u - 10 * (u > 0.9),
        over=lambda u: float(u > 0.9), scale=scale,
    )  # fmt: skip


def alive() -> World:
    """1 for each step until it falls to one of two sides, away from the middle."""

    def latents(o, a):
        return jnp.stack([jnp.abs(o[:, 0]), 1.0 * (jnp.abs(o[:, 0]) > 0.9)], axis=-1)

    return _track(
        "alive", "1 for each step until it falls, 0 for that one", lambda u, action, phase: float(abs(u) < 0.9),
        over=lambda u: float(abs(u) > 0.9), move=lambda x, a: x + a - 1 + (x > 3) - (x < 3), slip=0.3,
        latents=latents, latent_names=("lean", "fallen"),
    )  # fmt: skip


def hurry() -> World:
    """Each step costs, running more than walking and that more than waiting, until the goal is reached."""

    def latents(o, a):
        return jnp.stack([0.2 * a[:, 1] + a[:, 2], o[:, 0]], axis=-1)

    return _track(
        "hurry", "−1 per step to the goal; walking costs 0.2 more, running 1 more",
        lambda u, action, phase: -1.0 - (0.0, 0.2, 1.0)[action], over=lambda u: float(u > 0.9), begin=(0, 1, 2),
        move=lambda x, a: x + a, latents=latents, latent_names=("effort", "place"),
    )  # fmt: skip


def length() -> World:
    """Rewards of both signs, and episodes that end sooner where it pays more."""

    def latents(o, a):
        return jnp.stack([o[:, 0], 1.0 * (o[:, 0] > 0.2)], axis=-1)

    return _track(
        "length", "u + 0.2; each step to the right of the middle ends the episode with probability 0.3",
        lambda u, action, phase: u + 0.2, over=lambda u: 0.3 * (u > 0.2), latents=latents,
        latent_names=("place", "risk"),
    )  # fmt: skip


def delayed(delay: int = 3) -> World:
    """Pulling a lever is paid ``delay`` steps later, if there is still time: 1 in the right season, −½ in others."""
    paid = (0.0, 1.0, -0.5)

    def step(state, action):
        phase, queue = state
        pulled = 0 if action != 2 else 1 if phase == 0 else 2
        yield Outcome(1.0, ((phase + 1) % 4, (*queue[1:], pulled)), paid[queue[0]])

    def observe(state):  # the oldest pull in the queue is paid next, and nobody sees what is on its way
        phase, queue = state
        return _COS[phase], _SIN[phase], paid[queue[0]], float(any(queue))

    def latents(o, a):
        season = jnp.maximum(o[:, 0], 0.0)
        return jnp.stack([a[:, 2] * season, a[:, 2] * (1.0 - season)], axis=-1)

    return tabulate(
        "delayed", f"a lever that is paid {delay} steps later",
        start={(phase, (0,) * delay): 0.25 for phase in range(4)}, step=step, observe=observe,
        latents=latents, latent_names=("pull", "wrong pull"), truth="advantage",
    )  # fmt: skip


def bagged() -> World:
    """Every four steps their hits are paid together, by their square: one more hit is worth more among many."""
    wanted = (0, 2, 1, 2)

    def step(state, action):
        phase, hits = state
        hits += action == wanted[phase]
        last = phase == 3
        yield Outcome(1.0, ((phase + 1) % 4, 0 if last else hits), hits**2 / 4 if last else 0.0)

    def observe(state):
        phase, hits = state
        return _COS[phase], _SIN[phase], hits / 3, float(phase == 0)

    def latents(o, a):
        cos, sin, up = o[:, 0], o[:, 1], lambda x: jnp.maximum(x, 0.0)
        hit = up(cos) * a[:, 0] + jnp.abs(sin) * a[:, 2] + up(-cos) * a[:, 1]
        return jnp.stack([hit, o[:, 2]], axis=-1)

    return tabulate(
        "bagged", "the square of the hits of four steps, at the end of the four", start={(0, 0): 1.0}, step=step,
        observe=observe, latents=latents, latent_names=("hit", "hits so far"), truth="advantage",
    )  # fmt: skip


def redundant() -> World:
    """Two guards of which one suffices while there is an alarm, and a third agent who is of no use."""

    def step(state, action):
        alarm, posts = 1 - state[0], action
        covered = 0.5 * alarm * (posts[0] or posts[1])
        yield Outcome(1.0, (alarm, posts), (covered - 0.3 * posts[0], covered - 0.3 * posts[1], 0.0))

    def observe(state):
        alarm, posts = state
        return [
            (1.0, alarm, posts[0], posts[1]),
            (1.0, alarm, posts[1], posts[0]),
            (0.0, alarm, posts[2], 0.0),
        ]

    def latents(o, a):
        covered = o[:, 0] * o[:, 1] * jnp.maximum(o[:, 2], o[:, 3])
        return jnp.stack([covered, o[:, 0] * o[:, 2]], axis=-1)

    return tabulate(
        "redundant", "two guards of which one suffices, and one useless agent", agents=3, actions=2,
        start={(alarm, (0, 0, 0)): 0.5 for alarm in range(2)}, step=step, observe=observe, latents=latents,
        latent_names=("covered", "on post"), truth="advantage",
    )  # fmt: skip


def hero() -> World:
    """One of three agents, another in each episode, earns all by following a signal."""

    def step(state, action):
        who, signal, _ = state
        signal = 1 - signal
        reward = [float(agent == who) * (1.0 if action[agent] == signal else -0.5) for agent in range(3)]
        yield Outcome(1.0, (who, signal, action), reward)

    def observe(state):
        who, signal, place = state
        return [
            (float(agent == who), signal, place[agent], (sum(place) - place[agent]) / 2) for agent in range(3)
        ]

    def latents(o, a):
        match = 1.0 - jnp.abs(o[:, 1] - o[:, 2])
        return jnp.stack([o[:, 0] * match, match], axis=-1)

    return tabulate(
        "hero", "one of three agents earns all", agents=3, actions=2,
        start={(who, signal, (0, 0, 0)): 1 / 6 for who in range(3) for signal in range(2)}, step=step,
        observe=observe, latents=latents, latent_names=("hero matches", "match"),
    )  # fmt: skip


def collide() -> World:
    """Three agents go round three cells, one of which has food; each of two in the same cell pays for it."""

    def crowd(cells, agent):
        return sum(cells[agent] == other for other in cells) - 1

    def step(state, action):
        cells = tuple((cell + go) % 3 for cell, go in zip(state, action, strict=True))
        yield Outcome(1.0, cells, [float(cells[i] == 0) - crowd(cells, i) for i in range(3)])

    def observe(state):
        rows = []
        for agent, cell in enumerate(state):
            others = [(other - cell + 1) % 3 - 1 for place, other in enumerate(state) if place != agent]
            rows.append((cell - 1.0, *others, float(cell == 2)))
        return rows

    def latents(o, a):
        near = 1.0 * (jnp.abs(o[:, 1]) < 0.5) + 1.0 * (jnp.abs(o[:, 2]) < 0.5)
        return jnp.stack([1.0 * (o[:, 0] < -0.5), near], axis=-1)

    return tabulate(
        "collide", "1 in the cell with food, −1 for each other agent in one's own cell", agents=3, actions=2,
        start={(0, 1, 2): 1.0}, step=step, observe=observe, latents=latents, latent_names=("food", "crowd"),
    )  # fmt: skip


WORLDS: dict[str, Callable[[], World]] = {
    "linear": linear,
    "nonlinear": nonlinear,
    "missing": missing,
    "action": action,
    "delayed": delayed,
    "bagged": bagged,
    "sparse": sparse,
    "crash": crash,
    "alive": alive,
    "hurry": hurry,
    "length": length,
    "noisy": noisy,
    "micro": partial(crash, "micro", 1e-6),
    "mega": partial(crash, "mega", 1e6),
    "distract-10": partial(distract, 10),
    "distract-100": partial(distract, 100),
    "redundant": redundant,
    "hero": hero,
    "collide": collide,
}
"""Every world by its name."""
