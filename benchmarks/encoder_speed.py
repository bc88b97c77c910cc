"""How fast is a sealed encoder, and how long does sealing take?

Prints rows per second of six HalfCheetah latents, as a sealed program under ``jit`` and as plain NumPy in
the same process, their ratio, and the seconds to check and seal the source. Run it with ``python
benchmarks/encoder_speed.py``; set ``XLA_FLAGS=--xla_cpu_multi_thread_eigen=false`` and ``taskset -c 0``
for figures of one core.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from latent_reward.encoder.card import Space
from latent_reward.sealing.verify import seal

ROWS, REPEATS = 100_000, 20
SOURCE = """
def evaluation_func(observation, action, next_observation):
    forward_speed = next_observation[:, 8:9]
    effort = -np.sum(action ** 2, axis=1, keepdims=True)
    upright = np.cos(next_observation[:, 1:2])
    pitch_rate = -np.abs(next_observation[:, 10:11])
    joint_speed = -np.linalg.norm(next_observation[:, 11:17], axis=1, keepdims=True)
    jerk = -np.sqrt(np.sum((next_observation - observation) ** 2, axis=1, keepdims=True) + 1e-6)
    return [forward_speed, effort, upright, pitch_rate, joint_speed, jerk]
"""


def seconds(call: Callable) -> float:
    """The median time of a call, after one that compiles."""
    call()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main() -> None:
    """Measures and prints."""
    start = time.perf_counter()
    encoder = seal(SOURCE, Space.unbounded(17, 6))
    print(f"seal                    {time.perf_counter() - start:8.2f} s")

    generator = np.random.default_rng(0)
    rows = [generator.normal(size=(ROWS, size)).astype(np.float32) for size in (17, 6, 17)]
    on_device = [jnp.asarray(part) for part in rows]
    scope: dict = {"np": np}
    exec(SOURCE, scope)  # our own text, three lines above

    def by_numpy():
        return np.concatenate(scope["evaluation_func"](*rows), axis=1)

    compiled = jax.jit(encoder.encode)
    np.testing.assert_allclose(compiled(*on_device), by_numpy(), rtol=1e-4, atol=1e-5)
    sealed = seconds(lambda: compiled(*on_device).block_until_ready())
    plain = seconds(by_numpy)
    print(f"sealed, jit             {ROWS / sealed / 1e6:8.2f} million rows/s")
    print(f"plain NumPy             {ROWS / plain / 1e6:8.2f} million rows/s")
    print(f"ratio                   {plain / sealed:8.2f}")


if __name__ == "__main__":
    main()
