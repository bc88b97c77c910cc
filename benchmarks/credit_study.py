"""Which inputs, scales, losses and decoders assign credit best: a study on recorded episodes, without an agent.

    lare train HalfCheetah-v5 --method dense --out results/HalfCheetah-v5/dense/0
    python benchmarks/credit_study.py results/HalfCheetah-v5/dense/0 --draws 0 1 2

The episodes that a dense run met are replayed in their order, from random play to a trained policy. After each
one the decoder gets an update per step of it, as in training, from returns alone. Each new
episode is predicted before it is fitted. Printed after ``--marks`` episodes: the correlation of these predictions
with the hidden rewards of all steps of the last three episodes. It takes about 20 s per variant on one thread.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

import latent_reward as lr
from latent_reward.credit import decompose, monitor
from latent_reward.credit.methods import METHODS, Learned
from latent_reward.run import build_learner
from latent_reward.training import learner as core
from latent_reward.training import replay as ring

LARE = METHODS["lare"].credit
VARIANTS = {
    "lare": LARE,
    "view: next": replace(LARE, view="next"),
    "lare-paper (view: current)": METHODS["lare-paper"].credit,
    "latents standardised": replace(LARE, standardise=True),
    "returns scaled": replace(LARE, scale_returns=True),
    "no linear part": replace(LARE, linear=False),
    "no linear part, 256-256": replace(LARE, linear=False, hidden=(256, 256)),
    "no linear part, rate 1e-3": replace(LARE, linear=False, learning_rate=1e-3),
    "linear part, 256-256": replace(LARE, hidden=(256, 256)),
    "loss: rd": replace(LARE, loss="rd"),
    "loss: rrd": replace(LARE, loss="rrd"),
    "rrd-unbiased": METHODS["rrd-unbiased"].credit,
    "rd": METHODS["rd"].credit,
}


def recorded_episodes(run: lr.Run) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Observations, actions and hidden rewards of the episodes in the replay of a dense run, oldest first."""
    stored = load_file(run.folder / "checkpoint.safetensors")

    def field(name):
        return stored[f"state.replay.{name}"][0]

    episodes = []
    for slot in range(int(field("newest_episode"))):
        start, end = field("start")[slot], field("start")[slot] + field("length")[slot]
        episodes.append(
            (field("observation")[start : end + 1], field("action")[start:end], field("reward")[start:end, 0])
        )
    return episodes


def pad(episode: tuple[np.ndarray, np.ndarray, np.ndarray], horizon: int) -> ring.Episode:
    """One episode with a seed axis of one, padded to the horizon."""
    observation, action, reward = episode
    missing = horizon - len(reward)
    return ring.Episode(
        jnp.asarray(np.pad(observation, ((0, missing), (0, 0))))[None],
        jnp.asarray(np.pad(action, ((0, missing), (0, 0))))[None],
        jnp.asarray(np.pad(reward, (0, missing)))[None],
        jnp.zeros(1, bool),
        jnp.full(1, len(reward), jnp.int32),
    )


def study(
    run: lr.Run, credit: Learned, encoder: lr.Encoder, warmup: int, marks: list[int], updates: int
) -> list[float]:
    """Held-out correlation over three episodes, after each number of episodes in ``marks``."""
    episodes = recorded_episodes(run)[: max(marks)]
    reads_latents = credit.features == "latent"
    config = replace(run.config, method=replace(run.config.method, credit=credit))
    learner = build_learner(config, run.task, encoder if reads_latents else None)
    state = core.init(learner, jax.random.split(jax.random.key(0), 1))
    decomposer, replay = state.decomposer, state.replay
    subset = None if credit.loss == "rd" else min(credit.subset, learner.horizon)

    def step(decomposer, replay, key, index):
        window = ring.sample_window(
            replay,
            jax.random.fold_in(key, index),
            episodes=max(1, credit.batch_steps // (subset or learner.horizon)),
            subset=subset,
            horizon=learner.horizon,
            raw=not reads_latents,
        )
        return decompose.update(decomposer, credit, window)[0]

    @jax.jit
    def fit(decomposer, replay, key, updates):
        decomposer, replay = (jax.tree.map(lambda leaf: leaf[0], tree) for tree in (decomposer, replay))
        decomposer = jax.lax.fori_loop(
            0, updates, lambda index, state: step(state, replay, key, index), decomposer
        )
        return jax.tree.map(lambda leaf: leaf[None], decomposer)

    seen, steps, rows = monitor.init_monitor(3), 0, []
    for number, episode in enumerate(episodes, 1):
        decomposer, replay, proxy = core.absorb(learner, decomposer, replay, pad(episode, learner.horizon))
        seen = monitor.note_episode(seen, np.asarray(proxy[0])[: len(episode[2])], episode[2])
        steps += len(episode[2])
        if steps >= warmup:
            decomposer = fit(decomposer, replay, jax.random.key(number), updates * len(episode[2]))
        if number in marks:
            rows.append(monitor.credit_quality(seen).correlation)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a dense run")
    parser.add_argument("--draws", nargs="*", type=int, default=[0])
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--warmup", type=int, default=10_000)
    parser.add_argument("--marks", nargs="*", type=int, default=[13, 16, 20, 25, 30, 40])
    parser.add_argument("--updates", type=int, default=1, help="decoder updates per step of an episode")
    arguments = parser.parse_args()
    recorded = lr.load_run(arguments.run)
    for draw in arguments.draws:
        chosen = lr.load_encoder(recorded.task, draw)
        for name in arguments.variants:
            began = time.perf_counter()
            found = study(
                recorded, VARIANTS[name], chosen, arguments.warmup, arguments.marks, arguments.updates
            )
            cells = " ".join(f"{correlation:5.2f}" for correlation in found)
            print(f"draw {draw}  {name:26s} {cells}  {time.perf_counter() - began:.0f} s", flush=True)
