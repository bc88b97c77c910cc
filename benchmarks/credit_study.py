"""Which inputs, scales, losses and decoders assign credit best: a study on recorded episodes, without an agent.

    lare train HalfCheetah-v5 --method dense --out results/HalfCheetah-v5/dense/0
    python benchmarks/credit_study.py results/HalfCheetah-v5/dense/0 --draws 0 1 2
    python benchmarks/credit_study.py results/HalfCheetah-v5/dense/0 --ablations

The episodes that a dense run met are replayed in their order, from random play to a trained policy. After each
one the decoder gets an update per step of it, as in training, from returns alone. Each new
episode is predicted before it is fitted. Printed after ``--marks`` episodes: the correlation of these predictions
with the hidden rewards of all steps of the last three episodes. It takes about 20 s per variant on one thread.
With ``--ablations`` the variants are those of ``docs/ablations.md``, and each row is the mean over the seeds of the
run, with the least at the last mark in brackets. A threshold is the median of the returns of these episodes.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from safetensors.numpy import load_file

import latent_reward as lr
from latent_reward.credit import metrics
from latent_reward.credit.methods import METHODS
from latent_reward.credit.per_step import PerStep
from latent_reward.data.feedback import EPISODE_RETURNS, Feedback
from latent_reward.encoder.encoder import select_latents
from latent_reward.encoder.selection import Selection, as_selection
from latent_reward.envs.noise import observation_scales
from latent_reward.envs.recorder import EpisodeArrays
from latent_reward.rng import OffPolicyPurpose, keys_for
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


class Ablation(NamedTuple):
    """A method, the latents that it reads, and what it is told; ``sparse``: whether it is told only 100 or 0."""

    method: Any = LARE
    latents: str = "all"
    feedback: Feedback = EPISODE_RETURNS
    sparse: bool = False


LATENTS_ALONE = replace(LARE, groups=("latent", "termination"))
NETWORK = METHODS["lare-rd"].replay
ABLATIONS = {
    "lare": Ablation(),
    "view: current": Ablation(replace(LARE, view="current")),
    "view: next": Ablation(replace(LARE, view="next")),
    "latents alone": Ablation(LATENTS_ALONE),
    "raw columns alone (gp)": Ablation(METHODS["gp"].replay),
    "without the best latent": Ablation(latents="without best"),
    "only the best latent": Ablation(latents="only best"),
    "10 junk latents": Ablation(latents="junk"),
    "latents alone, without the best": Ablation(LATENTS_ALONE, "without best"),
    "latents alone, 10 junk": Ablation(LATENTS_ALONE, "junk"),
    "decoder: linear": Ablation(replace(NETWORK, hidden=())),
    "decoder: 64-64 (lare-rd)": Ablation(NETWORK),
    "decoder: 64-64-64-64": Ablation(replace(NETWORK, hidden=(64,) * 4)),
    "told every 10 steps": Ablation(feedback=Feedback(every=10)),
    "told 100 or 0": Ablation(sparse=True),
    "return noise 0.1": Ablation(feedback=Feedback(return_noise=0.1)),
    "return noise 0.5": Ablation(feedback=Feedback(return_noise=0.5)),
    "observation noise 0.1": Ablation(feedback=Feedback(observation_noise=0.1)),
    "observation noise 0.5": Ablation(feedback=Feedback(observation_noise=0.5)),
}


def selection(encoder: lr.Encoder, latents: str, best: str) -> Selection:
    """What is selected, where ``best`` is the name of the latent that earns most."""
    return {
        "all": encoder.card.selection,
        "without best": Selection(without=(best,)),
        "only best": Selection(only=(best,)),
        "junk": Selection(junk=10),
    }[latents]


def recorded_episodes(run: lr.Run, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Observations, actions and hidden rewards of the episodes in the buffer of a dense run, oldest first.

    ``seed`` is the place of one of its seeds.
    """
    stored = load_file(run.folder / "checkpoint.safetensors")

    def field(name):
        return stored[f"state[0].buffer.{name}"][seed]

    episodes = []
    for slot in range(int(field("newest_episode"))):
        start, end = field("start")[slot], field("start")[slot] + field("length")[slot]
        first = field("frame")[start]
        episodes.append(
            (
                field("steps.observation")[first : first + end - start + 1],
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


def noisy(run: lr.Run, episodes: list, noise: float, seed: int) -> list:
    """The episodes as they are seen with noise on observations."""
    if not noise:
        return episodes
    random, (scale,) = np.random.default_rng(seed), observation_scales(run.world)
    return [
        (seen + (noise * scale * random.standard_normal(seen.shape)).astype(np.float32), *rest)
        for seen, *rest in episodes
    ]


class Studied(NamedTuple):
    """Held-out correlations at the marks, and the worth of each latent after the last one."""

    correlations: list[float]
    worth: dict[str, float]


def study(
    run: lr.Run,
    method: PerStep,
    encoder: lr.Encoder,
    warmup: int,
    marks: list[int],
    updates: int,
    feedback: Feedback = EPISODE_RETURNS,
    seed: int = 0,
) -> Studied:
    """Held-out correlation over three episodes, after each number of episodes in ``marks``."""
    episodes = noisy(run, recorded_episodes(run, seed)[: max(marks)], feedback.observation_noise, seed)
    encoders = (None if method.latents == "none" else encoder,)
    plan = run.config.plan
    learner = replay_learner(team_learners(run.world, method, plan.agent, encoders, feedback), plan)
    spec = learner.team.credit
    state = core.init(learner, jax.random.split(jax.random.key(seed), 1))
    told = keys_for([seed], OffPolicyPurpose.FEEDBACK)

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
        played = pad(episode, run.world.horizon)
        state, proxy = core.store(
            learner, state, played, jax.vmap(jax.random.fold_in, (0, None))(told, number)
        )
        sums = metrics.episode_sums(np.asarray(proxy, np.float64), played.reward, played.mask)
        window = metrics.push(window, sums)
        steps += len(episode[2])
        if steps >= warmup and method.draws:
            fitted = fit(state.credit, state.buffer, jax.random.key(number), updates * len(episode[2]))
            state = state._replace(credit=fitted)
        if number in marks:
            rows.append(metrics.credit_correlation(metrics.seen(window)))
    one = jax.tree.map(lambda leaf: leaf[0], state.credit)
    return Studied(rows, method.latent_weights(spec, one))


def print_row(name: str, found: list[float], began: float) -> None:
    """One line: the name, correlations, and how long it took."""
    cells = " ".join(f"{correlation:5.2f}" for correlation in found)
    print(f"{name:34s} {cells}  {time.perf_counter() - began:.0f} s", flush=True)


def study_ablations(
    run: lr.Run, encoder: lr.Encoder, names: list[str], warmup: int, marks: list[int]
) -> None:
    """A row for each ablation: the mean over the seeds of the run, and in brackets the least at the last mark."""
    seeds = range(len(run.config.seeds))
    # the best latent is the one of which latents alone learn from the returns of the first seed that it earns most
    best = next(iter(study(run, LATENTS_ALONE, encoder, warmup, marks, 1).worth))
    print(f"{run.task.name}, {len(seeds)} seeds, marks {marks}; the best latent is {best}", flush=True)
    for name in names:
        began, ablation = time.perf_counter(), ABLATIONS[name]
        (chosen,) = select_latents([encoder], selection(encoder, ablation.latents, best))
        rows = []
        for seed in seeds:
            returns = [each[2].sum() for each in recorded_episodes(run, seed)[: max(marks)]]
            feedback = ablation.feedback
            if ablation.sparse:
                feedback = replace(feedback, threshold=float(np.median(returns)))
            rows.append(study(run, ablation.method, chosen, warmup, marks, 1, feedback, seed).correlations)
        print_row(f"{name} ({min(row[-1] for row in rows):.2f})", list(np.mean(rows, axis=0)), began)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a dense run")
    parser.add_argument("--draws", nargs="*", type=int, default=[0])
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--ablations", nargs="*", choices=list(ABLATIONS), help="these, or all of them")
    parser.add_argument("--without", nargs="*", default=[], help="latents that are left out")
    parser.add_argument("--warmup", type=int, default=10_000)
    parser.add_argument("--marks", nargs="*", type=int, default=[13, 16, 20, 25, 30, 40])
    parser.add_argument("--updates", type=int, default=1, help="decoder updates per step of an episode")
    arguments = parser.parse_args()
    recorded = lr.load_run(arguments.run)
    for draw in arguments.draws:
        (chosen,) = select_latents(
            [lr.load_encoder(recorded.task, draw)], as_selection({"without": arguments.without})
        )
        if arguments.ablations is not None:
            wanted = arguments.ablations or list(ABLATIONS)
            study_ablations(recorded, chosen, wanted, arguments.warmup, arguments.marks)
            continue
        for name in arguments.variants:
            began = time.perf_counter()
            found = study(
                recorded, VARIANTS[name], chosen, arguments.warmup, arguments.marks, arguments.updates
            )
            print_row(f"draw {draw}  {name}", found.correlations, began)
