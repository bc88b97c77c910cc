"""The command ``credit``: recorded episodes in, the same episodes with per-step rewards out."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from tyro.conf import Positional, arg

from latent_reward.cli.common import (
    AsJson,
    JunkCount,
    LatentNames,
    print_json,
    print_weights,
    screen,
    selection_of,
)
from latent_reward.errors import LareError

if TYPE_CHECKING:
    from latent_reward.library.assign import Setup
    from latent_reward.library.episode import Episode
    from latent_reward.library.trust import Trust


def credit(
    data: Positional[Annotated[str, arg(metavar="DATA")]],
    *,
    out: Annotated[Path, arg(metavar="OUT")],
    task: Annotated[str | None, arg(metavar="TASK")] = None,
    method: str = "lare",
    encoder: Annotated[str | None, arg(metavar="DIR|TASK")] = None,
    latents: LatentNames = None,
    without: LatentNames = None,
    junk: JunkCount = None,
    updates: int | None = None,
    seed: int = 0,
    force: bool = False,
    json: AsJson = False,
) -> None:
    """Assign a reward to every step of recorded episodes, and say how far to trust them.

    The method is fitted to the returns of the episodes. Before that, each fifth of them is held out in turn to see
    whether their returns are explained. If they are not, nothing is written and the exit status is 1.

    Args:
        data: an .npz archive (observation, action, length, return), HDF5 in Minari's layout, or the id or folder of a
            Minari data set.
        out: where to write the data with its rewards, in the same format; never DATA itself.
        task: a built-in task (`lare tasks`) or the path of a task file; without it, sizes are taken from the arrays.
        method: how credit is assigned (`lare methods`).
        encoder: folder of an encoder, or a task with a bundled one; that of TASK by default.
        latents: names of the latents that are used, the others being left out.
        without: names of latents that are left out.
        junk: add so many latents that say nothing.
        updates: updates of the decoder; by default until held-out returns are explained no better.
        seed: of all random numbers.
        force: write the rewards even if held-out returns are not explained.
        json: print the result as JSON, and nothing else.
    """
    from latent_reward.library import assign, trust
    from latent_reward.library.recorded.find import find_data, read_data
    from latent_reward.library.where import find_where

    place = find_data(data)
    _check_out(place, out)
    limit = None if task is None else find_where(task, None, None, None, 1).horizon
    recorded = read_data(place, limit)
    spaces = {"task": task} if task is not None else spaces_of(recorded.episodes, place)
    selection = selection_of(latents, without, junk)
    setup = assign.prepare(recorded.episodes, method=method, encoder=encoder, latents=selection, **spaces)
    if not json:
        _describe(setup)
    if updates is None:
        updates = assign.choose_updates(setup, seed)
    elif updates < 1:
        raise LareError(f"updates: {updates} is not possible; give a whole number of at least 1")
    found = trust.measure(setup, updates, seed)
    if not json:
        _show(found, method, updates)
    if found.problem and not force:
        raise LareError(f"data: {found.problem}")
    state = assign.fitted(setup, range(len(setup.episodes)), updates, seed)
    weights = setup.method.credit.latent_weights(setup.core.spec, state)
    recorded.write(out, assign.rewards(setup, state))
    if json:
        print_json(
            {"out": str(out), "episodes": len(setup.episodes), "method": method, "updates": updates}
            | {"latent_weights": weights, **asdict(found)}
        )
        return
    print_weights(weights)
    warning = (
        f"written all the same, though {found.problem.partition(';')[0]}: " if found.problem else "written: "
    )
    screen.print(f"{warning}{out}")


def spaces_of(episodes: "list[Episode]", place: Path) -> dict[str, Any]:
    """Spaces as wide as the arrays of recorded episodes.

    Raises:
        LareError: the arrays of two episodes, or their axes, do not fit together.
    """
    import gymnasium

    first = episodes[0]
    observations, actions = np.asarray(first.observations), np.asarray(first.actions)
    axes = observations.ndim - 2  # 0 for one agent, 1 for a team
    if axes not in (0, 1) or actions.ndim - axes not in (1, 2) or not observations.size:
        raise LareError(
            f"{place}: observations of shape {observations.shape} and actions of shape {actions.shape} do not fit; "
            "give (T + 1, o) and (T, a) or (T,), of teams with agents after time"
        )
    for number, each in enumerate(episodes):
        shapes = np.shape(each.observations)[1:], np.shape(each.actions)[1:]
        if shapes != (observations.shape[1:], actions.shape[1:]):
            raise LareError(
                f"{place}: episode {number} has other sizes than the first; keep one kind per file"
            )
    if actions.ndim - axes == 2:
        space = gymnasium.spaces.Box(-np.inf, np.inf, (actions.shape[-1],))
    else:
        most = max(float(np.max(each.actions)) for each in episodes)
        if not 0 <= most < 1 << 16 or any(np.any(np.asarray(each.actions) % 1) for each in episodes):
            raise LareError(
                f"{place}: actions with one number per step must be whole numbers from 0 up; give continuous actions "
                "an axis of their own, (T, 1)"
            )
        space = gymnasium.spaces.Discrete(int(most) + 1)
    return {"observation_space": observations.shape[-1], "action_space": space}


def _check_out(place: Path, out: Path) -> None:
    if out.exists() and out.resolve() == place.resolve():
        raise LareError(f"out: {out} is DATA itself, which is never changed; choose another path")
    if out.is_dir() or (place.is_dir() and out.exists()):
        raise LareError(f"out: {out} exists already; choose another path")
    if place.is_dir() and place.resolve() in out.resolve().parents:
        raise LareError(f"out: {out} is inside DATA, which is never changed; choose another path")
    if not out.absolute().parent.is_dir():
        raise LareError(f"out: there is no folder {out.absolute().parent}; make it first")


def _describe(setup: "Setup") -> None:
    returns, lengths = setup.returns, setup.lengths
    screen.print(
        f"{len(returns):,} episodes, {lengths.sum():,} steps ({lengths.min():,} to {lengths.max():,} each); returns "
        f"{returns.min():,.2f} to {returns.max():,.2f}"
    )


def _show(found: "Trust", method: str, updates: int) -> None:
    if np.isfinite(found.explained):
        screen.print(
            f"held-out returns explained by {method}, {f'{updates:,} updates' if updates else 'solved'}: "
            f"{found.explained:.3f} (1 is all, 0 is no better than a constant); by length alone: {found.by_length:.3f}"
        )
    elif not found.problem:
        screen.print(
            f"held-out returns are not measured: {method} is a reference that spreads the return itself"
        )
    if np.isfinite(found.correlation):
        screen.print(
            f"correlation with the true rewards in held-out episodes: {found.correlation:.3f} (slope "
            f"{found.slope:.3g}, bias {found.bias:.3g})"
        )
