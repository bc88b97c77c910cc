"""Small environments that break their interface in one way each, of Gymnasium and in PettingZoo's manner."""

import gymnasium
import numpy as np

BOX, DISCRETE = gymnasium.spaces.Box, gymnasium.spaces.Discrete
LIMIT = 8
COUNT = {"steps": 0}  # of all copies


class Point(gymnasium.Env):
    """A point that an action moves; ``how`` says what is wrong with it, from the step ``at`` on."""

    observation_space = BOX(-10, 10, (3,), np.float32)
    action_space = BOX(-1, 1, (2,), np.float32)

    def __init__(self, how="", at=0, choices=0):
        self.how, self.at = how, at
        if choices:
            self.action_space = DISCRETE(choices)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.x = 0, self.np_random.uniform(-1, 1, 3)
        if self.how == "reset raises":
            raise FileNotFoundError("prices.csv\nis missing")
        if self.how == "reset without info":
            return self.see()
        if self.how == "unrepeatable":
            self.x = np.random.default_rng().uniform(-1, 1, 3)
        if self.how == "carries over":
            self.x += 0.01 * (COUNT["steps"] % 97)
        return self.see(), {}

    def see(self):
        seen, late = self.x.astype(np.float32), self.t >= self.at
        made = {
            "short": lambda: seen[:2],
            "column": lambda: seen[:, None],
            "text": lambda: "here",
            "nothing": lambda: None,
            "ragged": lambda: [1.0, [2.0, 3.0], 4.0],
            "nan observation": lambda: seen * np.nan,
            "huge observation": lambda: seen.astype(float) + 1e39,
            "outside": lambda: seen + 100,
        }
        return made[self.how]() if late and self.how in made else seen

    def step(self, action):
        COUNT["steps"] += 1
        self.t += 1
        where = np.asarray(action, float).reshape(-1)[:2]
        self.x[: len(where)] = np.clip(self.x[: len(where)] + 0.2 * where, -5, 5)
        late, reward = self.t > self.at, -float(self.x @ self.x)
        if late and self.how == "raises":
            raise RuntimeError("simulator lost\nits connection")
        if late and self.how == "exits":
            raise SystemExit(3)
        if late and self.how == "mute error":
            raise Mute
        if late and self.how == "interrupted":
            raise KeyboardInterrupt
        if self.how == "raises once" and COUNT["steps"] == self.at:
            raise RuntimeError("simulator lost its connection")
        if late and self.how == "four values":
            return self.see(), reward, False, {}
        made = {
            "reward array": lambda: np.array([reward]),
            "reward column": lambda: np.array([[reward]], np.float32),
            "rewards": lambda: np.array([reward, 0.0]),
            "no reward": lambda: None,
            "nan reward": lambda: np.nan,
            "huge reward": lambda: 1e300,
            "words": lambda: "much",
        }
        paid = made[self.how]() if late and self.how in made else reward
        info = {"action_mask": np.ones(2)} if self.how == "mask" else None if self.how == "no info" else {}
        return self.see(), paid, False, False, info


class Mute(Exception):  # noqa: N818
    def __str__(self):
        raise ValueError("even this fails")


def point(how="", at=0, choices=0):
    return lambda: gymnasium.wrappers.TimeLimit(Point(how, at, choices), LIMIT)


class Bots:
    """Three bots on a line; ``how`` says what is wrong from the step ``at`` on."""

    metadata = {"name": "bots"}  # noqa: RUF012
    max_cycles = LIMIT

    def __init__(self, how="", at=0, names=("bot_0", "bot_1", "bot_2")):
        self.how, self.at, self.possible_agents, self.agents = how, at, list(names), []
        if how == "spaces are not functions":
            self.observation_space, self.action_space = BOX(-5, 5, (2,), np.float32), DISCRETE(3)

    def observation_space(self, agent):
        return BOX(-50, 50, (2,), np.float32)

    def action_space(self, agent):
        return DISCRETE(3)

    def reset(self, seed=None, options=None):
        self.t, self.random = 0, np.random.default_rng(seed)
        self.agents = [] if self.how == "nobody" else list(self.possible_agents)
        self.x = {each: self.random.uniform(-1, 1) for each in self.possible_agents}
        return {each: self.see(each) for each in self.agents}, {each: {} for each in self.agents}

    def see(self, agent):
        return np.array([self.x[agent], self.t], np.float32)

    def step(self, actions):
        self.t += 1
        late, there = self.t > self.at, list(self.agents)
        for agent, action in actions.items():
            self.x[agent] += 0.3 * (action - 1)
        seen = {each: self.see(each) for each in there}
        paid = {each: -abs(self.x[each]) for each in there}
        over, cut = dict.fromkeys(there, False), dict.fromkeys(there, self.t >= self.max_cycles)
        infos = {each: {} for each in there}
        if self.t >= self.max_cycles:
            self.agents = []
        if late and self.how == "raises":
            raise RuntimeError("simulator lost its connection")
        if late and self.how == "list of rewards":
            paid = list(paid.values())
        if late and self.how == "forgets an observation":
            seen.pop("bot_1")
        if late and self.how == "forgets a reward":
            paid.pop("bot_1")
        if late and self.how == "never leaves":
            over["bot_1"] = True
        if late and self.how == "leaves without an end" and "bot_1" in self.agents:
            self.agents.remove("bot_1")
        if late and self.how == "pays the dead":
            paid["bot_9"] = 1.0
        if late and self.how == "no infos":
            infos = None
        if late and self.how == "flags":
            over["bot_0"] = np.array([True, False])
        if late and self.how == "a mask of zeros":
            infos["bot_0"] = {"action_mask": np.zeros(3, np.int8)}
        if late and self.how == "a long mask":
            infos["bot_0"] = {"action_mask": np.ones(4, np.int8)}
        if self.how == "rewards in arrays":
            paid = {each: np.array([value]) for each, value in paid.items()}
        return seen, paid, over, cut, infos


class NoSeed(Bots):
    def reset(self):
        return super().reset()


class Old(Bots):
    def step(self, actions):
        return super().step(actions)[:4]


class OnlyObservations(Bots):
    def reset(self, seed=None, options=None):
        return super().reset(seed)[0]
