"""What trained teams of cooperative navigation do, and what their credit pays for.

    python benchmarks/navigation_study.py results/cn-6/rrd-unbiased/0..2 results/cn-6/lare/0..2

Plays fresh episodes with the policies of finished runs. Splits the team's return into its two terms, the distance to
the nearest landmark and collisions, and fits r̂ of single agents in single steps by
r̂ ≈ a · distance + b · collisions + c. The environment pays a = b = −1.
"""

import argparse
from pathlib import Path

import numpy as np

from latent_reward import LareError, Run, load_run
from latent_reward.envs.particle.cooperative_navigation import SEEN_AGENTS, SEEN_LANDMARKS, SIZE


def terms(after: np.ndarray) -> np.ndarray:
    """``[step, 2]``: distance to the nearest landmark and number of collisions, read off the observation o′."""
    landmarks, others = np.split(after[:, 4:], [2 * SEEN_LANDMARKS], axis=1)
    away = np.linalg.norm(landmarks.reshape(-1, SEEN_LANDMARKS, 2), axis=2).min(axis=1)
    touching = np.linalg.norm(others.reshape(-1, SEEN_AGENTS, 2), axis=2) < 2 * SIZE
    return np.column_stack([away, touching.sum(axis=1)])


def study(run: Run, seed: int, episodes: int) -> str:
    """One row of the table: what the team of ``seed`` does and is paid for."""
    ((played, *_),) = run.play(episodes, seed=seed)
    before, after = (np.asarray(each).reshape(-1, each.shape[-1]) for each in (played.before, played.after))
    causes = terms(after)
    sums = causes.sum(axis=0) / episodes
    cells = [
        run.config.method.name,
        seed,
        f"{played.returns.mean():.1f}",
        *(f"{each:.1f}" for each in sums),
    ]
    if run.config.method.credit.reference:
        return " | ".join(map(str, [*cells, "-", "-", "-"]))
    proxy = run.proxy_reward(before, np.asarray(played.action).reshape(-1), after, seed=seed)
    columns = np.column_stack([causes, np.ones(len(causes))])
    weights = np.linalg.lstsq(columns, proxy, rcond=None)[0]
    explained = 1 - np.var(proxy - columns @ weights) / np.var(proxy)
    cells += [f"{each:.2f}" for each in (*weights[:2], explained)]
    return " | ".join(map(str, cells))


def main() -> None:
    """Print a table with a row for each seed of each run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs of cn-6")
    parser.add_argument("--episodes", type=int, default=400, help="episodes to play with each policy")
    options = parser.parse_args()
    print("| method | seed | return | distance | collisions | a | b | explained |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for folder in options.runs:
        run = load_run(folder)
        if run.task.name != "cn-6":
            raise LareError(f"runs: {folder} is a run of {run.task.name}; give runs of cn-6")
        for seed in run.config.seeds:
            print(f"| {study(run, seed, options.episodes)} |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except LareError as error:
        raise SystemExit(f"{error}") from None
