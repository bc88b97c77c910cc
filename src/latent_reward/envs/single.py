"""A Gymnasium environment as a team of one."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from latent_reward.data.spaces import ActionSpace, Continuous, Discrete
from latent_reward.envs.base import HostWorld, Team, close
from latent_reward.envs.contract import Breach, Refused
from latent_reward.envs.gym import require_spaces
from latent_reward.envs.spaces import parts_of

AGENT = "agent"
_FORMS = {
    "reset": ("observation", "info"),
    "step": ("observation", "reward", "terminated", "truncated", "info"),
}


class SingleAgent:
    """A Gymnasium environment with the parallel interface; its only agent is ``agent``."""

    possible_agents = (AGENT,)

    def __init__(self, env: gymnasium.Env):
        """Wrap ``env``; there is no agent before the first reset."""
        self.env = env
        self.metadata = env.metadata
        self.agents: list[str] = []

    def reset(self, seed: int | None = None) -> tuple[dict, dict]:
        """Start an episode."""
        observation, info = _checked(self.env.reset(seed=seed), "reset")
        self.agents = [AGENT]
        return {AGENT: observation}, {AGENT: info}

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Take the agent's action."""
        results = _checked(self.env.step(actions[AGENT]), "step")
        if results[2] or results[3]:
            self.agents = []
        return tuple({AGENT: each} for each in results)  # pyright: ignore[reportReturnType]

    def render(self) -> Any:
        """A frame."""
        return self.env.render()

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


def single_world(name: str, make: Callable[[str | None], gymnasium.Env], horizon: int) -> HostWorld:
    """The world of the environment that ``make`` creates; the argument of ``make`` is a render mode or None.

    Raises:
        LareError: the environment cannot be made, or its spaces cannot be used.
    """
    env = make(None)
    require_spaces(name, env, discrete=True)
    (observation, mask), space = parts_of(env.observation_space), env.action_space
    close(env)
    assert isinstance(observation, gymnasium.spaces.Box)
    team = Team(AGENT, 1, observation.shape[0], actions_of(space), mask is not None)
    first = int(space.start) if isinstance(space, gymnasium.spaces.Discrete) else 0
    return HostWorld(name, (team,), ((AGENT,),), (first,), lambda mode: SingleAgent(make(mode)), horizon)


def actions_of(space: gymnasium.Space) -> ActionSpace:
    """The action space of an agent, from that of Gymnasium, which is discrete or a bounded vector."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return Discrete(int(space.n))
    assert isinstance(space, gymnasium.spaces.Box)
    low, high = (tuple(np.asarray(bound, np.float32).tolist()) for bound in (space.low, space.high))
    return Continuous(low, high)


def _checked(result: Any, call: str) -> tuple:
    """The result of ``reset`` or ``step``; Refused if it has another number of parts."""
    form = _FORMS[call]
    if not isinstance(result, tuple | list) or len(result) != len(form):
        given = f"{len(result)} values" if isinstance(result, tuple | list) else f"a {type(result).__name__}"
        message = f"gave {given} where {len(form)} are due"
        raise Refused(Breach(call, message, f"return ({', '.join(form)}) from {call}"))
    return tuple(result)
