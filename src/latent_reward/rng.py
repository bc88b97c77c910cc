"""Every stream of random numbers that a run draws from, by its purpose.

A stream depends on the run's seed, its purpose and a counter, never on what happened before. So a checkpoint holds
no state of a generator, and two seeds that train side by side draw what each would draw alone.
"""

from collections.abc import Sequence
from enum import IntEnum

import jax
import numpy as np

from latent_reward.types import Keys


class HostPurpose(IntEnum):
    """Streams of the host: seeds of resets, actions of the warm-up, and what observation noise is made of."""

    RESET = 0
    WARM_UP = 1
    EVALUATION = 2
    FINAL_EVALUATION = 3
    OBSERVATION_NOISE = 4
    OBSERVATION_SCALE = 5


class OffPolicyPurpose(IntEnum):
    """Keys of training from replay."""

    ACT = 0
    UPDATE = 1
    INIT = 2
    FEEDBACK = 3


class OnPolicyPurpose(IntEnum):
    """Keys of training from fresh episodes."""

    TRAIN = 0
    EVALUATION = 1
    INIT = 2
    FINAL_EVALUATION = 3
    VIDEO = 4
    PLAY = 5


def seed_for(seed: int, purpose: HostPurpose, counter: int) -> int:
    """A 32-bit seed for the host that depends on all three numbers."""
    return int(np.random.SeedSequence((seed, int(purpose), counter)).generate_state(1)[0])


def keys_for(seeds: Sequence[int], purpose: IntEnum) -> Keys:
    """One key per seed for ``purpose``."""
    keys = jax.vmap(jax.random.key)(np.asarray(seeds))
    return jax.vmap(jax.random.fold_in, (0, None))(keys, int(purpose))
