"""A Gymnasium environment as a team of one."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from latent_reward.data.spaces import ActionSpace, Continuous, Discrete
from latent_reward.envs.base import HostWorld, Team
from latent_reward.envs.gym import require_spaces

AGENT = "agent"


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
        observation, info = self.env.reset(seed=seed)
        self.agents = [AGENT]
        return {AGENT: observation}, {AGENT: info}

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Take the agent's action."""
        results = self.env.step(actions[AGENT])
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
    observation, space = env.observation_space, env.action_space
    env.close()
    require_spaces(name, env, discrete=True)
    assert isinstance(observation, gymnasium.spaces.Box)
    team = Team(AGENT, 1, observation.shape[0], actions_of(space))
    first = int(space.start) if isinstance(space, gymnasium.spaces.Discrete) else 0
    return HostWorld(name, (team,), ((AGENT,),), (first,), lambda mode: SingleAgent(make(mode)), horizon)


def actions_of(space: gymnasium.Space) -> ActionSpace:
    """The action space of an agent, from that of Gymnasium, which is discrete or a bounded vector."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return Discrete(int(space.n))
    assert isinstance(space, gymnasium.spaces.Box)
    low, high = (tuple(np.asarray(bound, np.float32).tolist()) for bound in (space.low, space.high))
    return Continuous(low, high)
