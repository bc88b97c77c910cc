"""Seeds as a leading axis, and what the package tells JAX of the cores it may use."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_reward.training.seeds import over_seeds


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("seeds", [1, 3])
def test_each_seed_gets_its_own_and_keeps_its_place(seeds, apart):
    numbers, keys = jnp.arange(2.0 * seeds).reshape(seeds, 2), jax.random.split(jax.random.key(0), seeds)

    def one(tree, key):
        assert tree["a"].shape == (2,)
        return {"b": tree["a"].sum(), "drawn": jax.random.normal(key, (4,))}

    found = jax.jit(lambda *given: over_seeds(one, *given, apart=apart))({"a": numbers}, keys)
    np.testing.assert_array_equal(found["b"], np.asarray(numbers).sum(axis=1))
    alone = [jax.random.normal(key, (4,)) for key in keys]
    np.testing.assert_allclose(found["drawn"], alone, rtol=1e-6)


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="the system does not bind processes to cores"
)
@pytest.mark.parametrize(
    ("cores", "given", "expected"), [(1, None, "false"), (1, "true", "true"), (2, None, "None")]
)
def test_on_a_lone_core_jax_dispatches_inline_unless_told_otherwise(cores, given, expected):
    if len(os.sched_getaffinity(0)) < cores:
        pytest.skip("this machine has too few cores")
    name = "JAX_CPU_ENABLE_ASYNC_DISPATCH"
    environment = {key: value for key, value in os.environ.items() if key != name}
    if given:
        environment[name] = given
    code = (
        f"import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:{cores}]); "
        f"import latent_reward; print(os.environ.get('{name}'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected
