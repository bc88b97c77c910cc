"""Streams of random numbers: every purpose has its own, for every seed and counter."""

from itertools import product

import jax
import numpy as np
import pytest

from latent_reward.rng import HostPurpose, OffPolicyPurpose, OnPolicyPurpose, keys_for, seed_for

SEEDS, COUNTERS = (0, 1, 2, 3, 4, 5, 7, 1000), range(50)


def test_no_two_streams_of_the_host_give_the_same_seed():
    places = list(product(SEEDS, HostPurpose, COUNTERS))
    assert len({seed_for(*place) for place in places}) == len(places)
    assert all(0 <= seed_for(*place) < 2**32 for place in places)
    assert seed_for(3, HostPurpose.RESET, 4) == seed_for(3, HostPurpose.RESET, 4)


def test_the_actions_of_the_warm_up_are_no_stream_of_resets():
    """They come from a generator of NumPy, seeded by the same three numbers that the other streams are hashed from."""
    first = np.random.default_rng((1, int(HostPurpose.WARM_UP), 0)).integers(2**32)
    others = {
        int(np.random.default_rng((1, int(each), 0)).integers(2**32))
        for each in HostPurpose
        if each is not HostPurpose.WARM_UP
    }
    assert int(first) not in others


@pytest.mark.parametrize("purposes", [OffPolicyPurpose, OnPolicyPurpose])
def test_no_two_purposes_of_a_training_give_the_same_key(purposes):
    """Neither as they are, nor folded with a counter or split, as training goes on from them."""
    seen, count = set(), 0
    for purpose in purposes:
        keys = keys_for(SEEDS, purpose)
        assert keys.shape == (len(SEEDS),)
        folded = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(keys, np.arange(len(COUNTERS)))
        halves = jax.vmap(jax.random.split)(folded.reshape(-1))
        for each in (keys, folded, halves):
            rows = jax.random.key_data(each).reshape(-1, 2)
            seen |= set(map(tuple, np.asarray(rows).tolist()))
            count += len(rows)
    assert len(seen) == count


def test_a_key_depends_on_the_seed_and_not_on_its_neighbours():
    together, alone = keys_for((4, 9), OnPolicyPurpose.TRAIN), keys_for((9,), OnPolicyPurpose.TRAIN)
    np.testing.assert_array_equal(*(jax.random.key_data(each[-1]) for each in (together, alone)))


def test_a_run_that_evaluates_films_and_plays_never_meets_the_episodes_of_its_training():
    names = {each.name for each in OnPolicyPurpose}
    assert {"TRAIN", "EVALUATION", "FINAL_EVALUATION", "VIDEO", "PLAY"} <= names
    assert len({int(each) for each in OnPolicyPurpose}) == len(names)
