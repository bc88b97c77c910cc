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
import numpy as np
from safetensors.numpy import load_file

import latent_reward as lr
from latent_reward.credit import metrics
from latent_reward.credit.methods import METHODS
from latent_reward.credit.per_step import PerStep
from latent_reward.envs.recorder import EpisodeArrays
from latent_reward.training import from_replay as core
from latent_reward.training.learner import team_learners
from latent_reward.training.off_policy import replay_learner

LARE = METHODS["lare"].replay
VARIANTS = {
    "lare": LARE,
    "view: next": replace(LARE, view="next"),
    "lare-paper (view: current)": METHODS["lare-paper"].replay,
    "latents alone": replace(LARE, groups=("latent",)),
    "latents and raw columns": replace(LARE, groups=("latent", "raw", "termination")),
    "linear": METHODS["linear"].replay,
    "gp": METHODS["gp"].replay,
    "lare-rd": METHODS["lare-rd"].replay,
    "lare-rrd": METHODS["lare-rrd"].replay,
    "rrd-unbiased": METHODS["rrd-unbiased"].replay,
    "rrd-unbiased-paper": METHODS["rrd-unbiased-paper"].replay,
    "rd": METHODS["rd"].replay,
}


def without(encoder: lr.Encoder, names: list[str], task: lr.Task) -> lr.Encoder:
    """The encoder with fewer latents, as if the model had not thought of them."""
    if unknown := set(names) - set(encoder.latent_names):
        raise lr.LareError(f"--without: no latent {', '.join(unknown)}; choose from {encoder.latent_names}")
    kept = [place for place, name in enumerate(encoder.latent_names) if name not in names]
    if encoder.needs_next_observation:

        def function(observation, action, next_observation):
            return encoder.encode(observation, action, next_observation)[:, np.array(kept)]
    else:

        def function(observation, action):
            return encoder.encode(observation, action)[:, np.array(kept)]

    left = [encoder.latent_names[place] for place in kept]
    return lr.Credit(task, encoder=lr.encoder_from_function(function, left)).encoder


def recorded_episodes(run: lr.Run) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Observations, actions and hidden rewards of the episodes in the buffer of a dense run, oldest first."""
    stored = load_file(run.folder / "checkpoint.safetensors")

    def field(name):
        return stored[f"state[0].buffer.{name}"][0]

    episodes = []
    for slot in range(int(field("newest_episode"))):
        start, end = field("start")[slot], field("start")[slot] + field("length")[slot]
        episodes.append(
            (
                field("steps.observation")[start : end + 1],
                field("steps.action")[start:end],
                field("steps.features")[start:end, :, 0],
            )
        )
    return episodes


def pad(episode: tuple[np.ndarray, np.ndarray, np.ndarray], horizon: int) -> EpisodeArrays:
    """One episode with a seed axis of one, padded to the horizon."""
    observation, action, reward = episode
    missing = horizon - len(reward)
    rest = lambda leaf: np.pad(leaf, ((0, missing), *[(0, 0)] * (leaf.ndim - 1)))[None]  # noqa: E731
    mask = rest(np.ones_like(reward, bool))
    blank = np.zeros_like(mask, np.float32)
    return EpisodeArrays(
        observation=rest(observation),
        action=rest(action),
        log_probability=blank,
        reward=rest(reward),
        mask=mask,
        terminated=np.zeros_like(mask),
        total=np.array([reward.sum()]),
    )


def study(
    run: lr.Run, method: PerStep, encoder: lr.Encoder, warmup: int, marks: list[int], updates: int
) -> list[float]:
    """Held-out correlation over three episodes, after each number of episodes in ``marks``."""
    episodes = recorded_episodes(run)[: max(marks)]
    encoders = (None if method.latents == "none" else encoder,)
    plan = run.config.plan
    learner = replay_learner(team_learners(run.world, method, plan.agent, encoders), plan)
    spec = learner.team.credit
    state = core.init(learner, jax.random.split(jax.random.key(0), 1))

    @jax.jit
    def fit(credit, buffer, key, updates):
        credit, buffer = (jax.tree.map(lambda leaf: leaf[0], tree) for tree in (credit, buffer))

        def step(index, credit):
            drawn = method.draw(spec, jax.random.fold_in(key, index), buffer)
            return method.update(spec, credit, drawn)[0]

        credit = jax.lax.fori_loop(0, updates, step, credit)
        return jax.tree.map(lambda leaf: leaf[None], credit)

    window, steps, rows = metrics.init_window(3), 0, []
    for number, episode in enumerate(episodes, 1):
        played = pad(episode, spec.horizon)
        state, proxy = core.store(learner, state, played)
        sums = metrics.episode_sums(np.asarray(proxy, np.float64), played.reward, played.mask)
        window = metrics.push(window, sums)
        steps += len(episode[2])
        if steps >= warmup and method.draws:
            fitted = fit(state.credit, state.buffer, jax.random.key(number), updates * len(episode[2]))
            state = state._replace(credit=fitted)
        if number in marks:
            rows.append(metrics.credit_correlation(metrics.seen(window)))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a dense run")
    parser.add_argument("--draws", nargs="*", type=int, default=[0])
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--without", nargs="*", default=[], help="latents that are left out")
    parser.add_argument("--warmup", type=int, default=10_000)
    parser.add_argument("--marks", nargs="*", type=int, default=[13, 16, 20, 25, 30, 40])
    parser.add_argument("--updates", type=int, default=1, help="decoder updates per step of an episode")
    arguments = parser.parse_args()
    recorded = lr.load_run(arguments.run)
    for draw in arguments.draws:
        chosen = lr.load_encoder(recorded.task, draw)
        if arguments.without:
            chosen = without(chosen, arguments.without, recorded.task)
        for name in arguments.variants:
            began = time.perf_counter()
            found = study(
                recorded, VARIANTS[name], chosen, arguments.warmup, arguments.marks, arguments.updates
            )
            cells = " ".join(f"{correlation:5.2f}" for correlation in found)
            print(f"draw {draw}  {name:26s} {cells}  {time.perf_counter() - began:.0f} s", flush=True)
