"""An environment of one's own: a boat in a canal, written with NumPy and registered with Gymnasium.

Nothing in it knows of LaRe. Importing this module registers ``Canal-v0``.
"""

import gymnasium
import numpy as np

STEP = 0.1  # seconds
BANK = 3.0  # metres from the berth to either end of the canal
FASTEST = 2.0  # metres per second


class Canal(gymnasium.Env):
    """A boat drifts in a steady current and should come to rest at its berth, by a motor of little power."""

    observation_space = gymnasium.spaces.Box(
        np.array([-BANK, -FASTEST, -0.3], np.float32), np.array([BANK, FASTEST, 0.3], np.float32)
    )
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        """Begin anywhere in the canal, at rest, with a current that stays for the episode."""
        super().reset(seed=seed)
        self.position, self.speed = self.np_random.uniform(-2.5, 2.5), 0.0
        self.current = self.np_random.uniform(-0.3, 0.3)
        return self._observe(), {}

    def step(self, action):
        """Push for a tenth of a second. What is paid is the user's business: LaRe sees only the sum."""
        thrust = float(np.clip(action, -1.0, 1.0)[0])
        self.speed = np.clip(self.speed + STEP * (thrust + self.current), -FASTEST, FASTEST)
        self.position = np.clip(self.position + STEP * self.speed, -BANK, BANK)
        reward = -abs(self.position) - 0.2 * abs(self.speed) - 0.05 * thrust**2
        return self._observe(), reward, False, False, {}

    def _observe(self):
        return np.array([self.position, self.speed, self.current], np.float32)


gymnasium.register("Canal-v0", entry_point="canal:Canal", max_episode_steps=100)
