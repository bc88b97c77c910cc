"""A small environment with unusual actions that notes everything that happens in it."""

import gymnasium
import numpy as np

LOW, HIGH = np.array([-3.0, 1.0], np.float32), np.array([1.0, 2.0], np.float32)
HORIZON = 7


class ProbeEnv(gymnasium.Env):
    """Episodes of 4 steps that terminate and of 7 that are cut take turns.

    Observations are (number of the episode, steps so far, noise). The return is the same in either case, a function of
    the whole episode; ``paid`` says whether it comes with the first step or the last.

    ``told`` has a dictionary per finished episode: observations, actions, ret and whether it terminated.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gymnasium.spaces.Box(LOW, HIGH)

    def __init__(self, paid="last"):
        self.paid, self.number, self.told = paid, 0, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.number += 1
        self.long = self.number % 2 == 0
        self.actions, self.observations = [], [self._observe(0)]
        return self.observations[0], {}

    def _observe(self, step):
        return np.array([self.number, step, self.np_random.normal()], np.float32)

    def step(self, action):
        assert self.action_space.contains(action), action
        self.actions.append(np.array(action))
        self.observations.append(self._observe(len(self.actions)))
        over = len(self.actions) == (HORIZON if self.long else 4)
        terminated, truncated = over and not self.long, over and self.long
        due = over if self.paid == "last" else len(self.actions) == 1
        ret = float(self.number % 5)
        if over:
            episode = {"observations": np.stack(self.observations), "actions": np.stack(self.actions)}
            self.told.append({**episode, "ret": ret, "terminated": terminated})
        return self.observations[-1], ret if due else 0.0, terminated, truncated, {}
