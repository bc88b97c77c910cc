"""The environment of one seed in the off-policy loop, with its unfinished episode."""

from dataclasses import dataclass, field

import numpy as np

from latent_reward.credit import metrics
from latent_reward.envs.recorder import Recorder
from latent_reward.errors import LareError
from latent_reward.rng import HostPurpose, seed_for


@dataclass
class EnvSlot:
    """One seed's environment with its unfinished episode, and the measurements of the seed's credit."""

    seed: int
    recorder: Recorder
    episodes: int = 0
    training_return: float = np.nan
    window: metrics.Sums = field(default_factory=metrics.init_window)

    def reset(self) -> None:
        """Start the next episode, from a state that depends on (seed, episode number) only."""
        where = f"of episode {self.episodes} (seed {self.seed})"
        self.recorder.begin(seed_for(self.seed, HostPurpose.RESET, self.episodes), where)

    def replay(self, actions: np.ndarray, observation: np.ndarray) -> None:
        """Restore an unfinished episode by taking its actions again.

        Raises:
            LareError: the environment does not arrive at the saved ``observation``.
        """
        self.reset()
        continues = [self.recorder.step([action]) for action in actions]
        if not actions.size:
            return  # nothing was done yet, so no step is lost wherever the episode begins
        if not all(continues) or not np.allclose(self.observation, observation, rtol=1e-5, atol=1e-5):
            raise LareError(
                f"resume: {self.recorder.world.name} did not repeat the {len(actions)} steps of its unfinished episode "
                f"(seed {self.seed}) from the same seed and actions; add --drop-unfinished (drop_unfinished=True), "
                "which begins that episode again and keeps everything learned"
            )

    @property
    def observation(self) -> np.ndarray:
        """What the agents see now, ``[agent, observation]``."""
        return self.recorder.arrays[0].observation[self.recorder.copy, self.recorder.steps]
