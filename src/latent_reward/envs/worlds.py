"""The table of compiled worlds, by name."""

from collections.abc import Callable
from functools import cache, partial

from latent_reward.envs.base import World
from latent_reward.envs.particle.cooperative_navigation import cn
from latent_reward.envs.particle.predator_prey import competitive_pp, pp
from latent_reward.envs.particle.triangle_area import triangle
from latent_reward.envs.smax import MAPS, smax
from latent_reward.errors import TaskError, did_you_mean

WORLDS: dict[str, Callable[[], World]] = {
    **{f"cn-{agents}": partial(cn, agents) for agents in (6, 15, 30)},
    **{f"pp-{agents}": partial(pp, agents) for agents in (6, 15, 30)},
    "competitive-pp": competitive_pp,
    "area": triangle,
    **{f"smax-{name}": partial(smax, name) for name in MAPS},
}


@cache
def find_world(name: str) -> World:
    """The world called ``name``, the same object each time; TaskError if there is none or it cannot be made."""
    if name not in WORLDS:
        message = f"there is no {name!r}{did_you_mean(name, WORLDS)}"
        raise TaskError("world", message, f"choose one of {', '.join(sorted(WORLDS))}")
    return WORLDS[name]()
