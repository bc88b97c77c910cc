"""Small parallel environments, written to PettingZoo's interface by hand, that show what a trainer does with them."""

import json

import gymnasium
import numpy as np
from pydantic import TypeAdapter

from latent_reward.task.task import TeamTask

SPACES = gymnasium.spaces


class Countdown:
    """Agent i of ``lives`` acts for that many steps; an observation is (agent, steps so far, last action).

    Every step pays 1 + action, to those who are absent (and still mentioned) ``pension``. ``late`` names
    agents that appear after a step; ``ends`` says how a life ends; what is in ``broken`` goes wrong.
    ``actions`` is how many actions there are: a number, or one for each agent.
    """

    metadata = {"name": "countdown"}  # noqa: RUF012

    def __init__(
        self,
        lives=(4, 2),
        late=(),
        ends="terminated",
        broken="",
        actions=3,
        start=0,
        pension=0.0,
        render_mode=None,
    ):
        if broken == "parts":
            raise RuntimeError("no parts\nleft")
        self.possible_agents = [f"agent_{i}" for i in range(len(lives))]
        self.lives = dict(zip(self.possible_agents, lives, strict=True))
        self.late = {f"agent_{i}" for i in late}
        self.ends, self.broken, self.start = ends, broken, start
        counts = [actions] * len(lives) if isinstance(actions, int) else actions
        self.choices = dict(zip(self.possible_agents, counts, strict=True))
        self.render_mode, self.pension = render_mode, pension
        self.agents = []

    def observation_space(self, agent):
        if self.broken == "image":
            return SPACES.Box(0, 1, (4, 4), np.float32)
        wider = self.broken == "mixed" and agent == "agent_1"
        return SPACES.Box(-np.inf, np.inf, (4 if wider else 3,), np.float32)

    def action_space(self, agent):
        if self.broken == "continuous":
            return SPACES.Box(-1.0, 1.0, (2,), np.float32)
        return SPACES.Discrete(self.choices[str(agent)], start=self.start)

    def see(self, agent, action=0):
        value = np.nan if self.broken == "observation" and self.t == 2 else float(agent[-1])
        return np.array([value, self.t, action], np.float32)

    def reset(self, seed=None, options=None):
        self.t, self.seed = 0, seed
        self.agents = [each for each in self.possible_agents if each not in self.late]
        return {each: self.see(each) for each in self.agents}, {each: {} for each in self.agents}

    def step(self, actions):
        assert list(actions) == self.agents
        self.t += 1
        reward = {each: 1.0 + action for each, action in actions.items()}
        if self.broken == "reward" and self.t == 2:
            reward["agent_0"] = np.inf
        reward |= {each: self.pension for each in self.possible_agents if each not in actions}
        over = {each: self.t >= self.lives[each] for each in self.agents}
        no = dict.fromkeys(over, False)
        observation = {each: self.see(each, action) for each, action in actions.items()}
        self.agents = [each for each in self.agents if not over[each]]
        if self.t == 1:
            self.agents += sorted(self.late)
            observation |= {each: self.see(each) for each in self.late}
        if self.broken == "stranger":
            self.agents = [*self.agents, "nobody"]
        if self.broken == "silent":
            observation.pop("agent_0", None)
        ends = (over, no) if self.ends == "terminated" else (no, over)
        return observation, reward, *ends, {each: {} for each in over}

    def render(self):
        return None

    def close(self):
        pass


def countdown(**kwargs):
    return Countdown(**kwargs)


class Named(Countdown):
    """Agents called ``names``, perhaps numbers; one called "wide" sees more, and 2 sees less than zero."""

    def __init__(self, names):
        super().__init__()
        self.possible_agents = list(names)
        self.choices = dict.fromkeys(map(str, names), 3)

    def observation_space(self, agent):
        assert agent in self.possible_agents
        return SPACES.Box(-1 if agent == 2 else 0, 1, (5 if agent == "wide" else 3,), np.float32)


def named(names):
    return Named(names)


def takes_turns(render_mode=None):
    env = Countdown()
    env.agent_iter = iter
    return env


def empty(render_mode=None):
    return Countdown(lives=())


def no_environment():
    return object()


HORIZON = 6


def countdown_document(agents=2, teams=None, max_steps=HORIZON, **kwargs):
    """What the task file of ``Countdown`` holds; ``teams`` has the members of each, else there is one of all."""
    field = {"index": 0, "name": "value", "meaning": "a number"}
    groups = {"agents": ()} if teams is None else teams
    actions = kwargs.get("actions", 3)
    count = lambda members: actions if isinstance(actions, int) else actions[int(members[0][-1])]  # noqa: E731
    return {
        "name": "countdown",
        "pettingzoo": "parallel_envs:countdown",
        "env_kwargs": kwargs,
        "max_steps": max_steps,
        "teams": [
            {
                "name": name,
                "agents": len(members) or agents,
                "members": list(members),
                "goal": {"plain": "earn", "paper": "earn"},
                "observation": [{**field, "count": 3}],
                "action": [{**field, "count": count(members)}],
            }
            for name, members in groups.items()
        ],
    }


def countdown_task(agents=2, teams=None, **kwargs):
    """The task of ``Countdown``."""
    document = json.dumps(countdown_document(agents, teams, **kwargs))
    return TypeAdapter(TeamTask).validate_json(document)
