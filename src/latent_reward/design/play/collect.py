"""Play the episodes of any task: one agent in Gymnasium, or a team in a compiled world or in PettingZoo."""

import threading
from collections.abc import Callable

from latent_reward.design.episodes import Episodes, Recording
from latent_reward.design.play import gym, pettingzoo, world
from latent_reward.envs.worlds import WORLDS
from latent_reward.task.load import find_description
from latent_reward.task.task import AnyTask, TeamTask


def prepare(task: AnyTask | str, recording: Recording | None = None) -> Callable[[threading.Event], Episodes]:
    """Create the environment of a task, and return the function that plays its episodes until an event is set.

    ``task`` is anything that :func:`~latent_reward.task.load.find_description` accepts, but for a team of PettingZoo
    the whole task is needed, not only its description. The returned function may run in another thread; creating an
    environment may not.

    Raises:
        LareError: the environment cannot be created or does not fit the task. The function it returns
            raises it if an observation or a reward is not finite.
    """
    whole, described = find_description(task)
    recording = recording or Recording()
    if isinstance(whole, TeamTask) and whole.pettingzoo:
        return pettingzoo.prepare(whole, whole.descriptions.index(described), recording)
    if described.env_id.partition("/")[0] in WORLDS:
        return world.prepare(described, recording)
    return gym.prepare(described, recording)


def collect(task: AnyTask | str, recording: Recording | None = None) -> Episodes:
    """Play episodes of the task's environment, each with one of several behaviours in turn.

    The same recording gives the same episodes, unless its time limit ends it.

    Raises:
        LareError: as :func:`prepare`.
    """
    return prepare(task, recording)(threading.Event())
