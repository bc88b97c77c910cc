"""Observation spaces with an action mask beside the observation."""

import gymnasium

from latent_reward.envs.contract import MASK, OBSERVATION

Space = gymnasium.spaces.Space | None


def parts_of(space: Space) -> tuple[Space, Space | None]:
    """The space of the observation proper, and that of the mask beside it: those of a Dict with both, and no more."""
    if isinstance(space, gymnasium.spaces.Dict) and space.spaces.keys() == {MASK, OBSERVATION}:
        return space[OBSERVATION], space[MASK]
    return space, None


def mask_problem(mask: Space | None, action: Space) -> str:
    """Why a mask cannot be one of the actions; empty if it can, or there is none."""
    if mask is None:
        return ""
    if not isinstance(action, gymnasium.spaces.Discrete):
        return f"has an action mask and a {type(action).__name__} of actions; only a Discrete can be masked"
    if mask.shape != (int(action.n),):
        return f"has an action mask of shape {mask.shape} for {int(action.n)} actions"
    return ""


def described(space: Space) -> str:
    """The kind of a space with its shape, or with the keys of a Dict."""
    if isinstance(space, gymnasium.spaces.Dict):
        return f"Dict of {', '.join(map(str, space.spaces)) or 'nothing'}"
    shape = getattr(space, "shape", None)
    return type(space).__name__ + (f" of shape {shape}" if shape else "")
