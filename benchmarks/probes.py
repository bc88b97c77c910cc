"""Does credit point the right way where it is known what pays? Carts on a rail, with latents that fit or miss it.

    python benchmarks/probes.py --probes insufficient crash --methods lare gp rrd-unbiased dense --seeds 0 1 2

Each run is TD3 for ``--steps`` steps, 1,000 of them random, in episodes of 50. Printed are the returns of every seed
at the end, their mean, and the correlation of the credit with the true reward. A run takes about 20 s on one core;
seeds of a method train together in one program.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import gymnasium
import jax.numpy as jnp
import numpy as np

import latent_reward as lr

LIMIT = 50  # steps of an episode


@dataclass(frozen=True)
class Probe:
    """What a cart is paid, whether that ends the episode, and the latents that the encoder knows.

    Attributes:
        pay: reward of a step from the position and speed after it and the action, and whether the episode is over.
        latents: columns of position and speed before and after the step and the action, by name.
    """

    pay: Callable[[float, float, float], tuple[float, bool]]
    latents: dict[str, Callable]


def _crash(x: float, v: float, a: float) -> tuple[float, bool]:
    return 1.0 - abs(x - 0.9) - 20.0 * (x > 1.0), x > 1.0


PROBES = {
    "linear": Probe(
        lambda x, v, a: (-(x**2) - 0.1 * a**2, False),
        {"distance": lambda x, v, a: -(x**2), "effort": lambda x, v, a: -(a**2)},
    ),
    "bump": Probe(
        lambda x, v, a: (float(np.exp(-8 * (x - 0.5) ** 2)), False),
        {"position": lambda x, v, a: x, "speed": lambda x, v, a: v},
    ),
    "insufficient": Probe(  # the latents say nothing of the position, which alone pays
        lambda x, v, a: (-abs(x - 0.5), False),
        {"calm": lambda x, v, a: -(v**2), "effort": lambda x, v, a: -(a**2)},
    ),
    "regulate": Probe(  # as linear, but the latents say nothing of the position
        lambda x, v, a: (-(x**2) - 0.1 * a**2, False),
        {"calm": lambda x, v, a: -(v**2), "effort": lambda x, v, a: -(a**2)},
    ),
    "crash": Probe(  # no latent shows that the episode ends, which costs most
        _crash, {"nearness": lambda x, v, a: -abs(x - 0.9), "speed": lambda x, v, a: v}
    ),
    "goal": Probe(
        lambda x, v, a: (float(x > 0.5), x > 0.5),
        {"position": lambda x, v, a: x, "arrived": lambda x, v, a: 1.0 * (x > 0.5)},
    ),
    "hurry": Probe(lambda x, v, a: (-1.0, x > 0.5), {"position": lambda x, v, a: x}),
    "balance": Probe(lambda x, v, a: (1.0, abs(x) > 1.6), {"position": lambda x, v, a: x}),
}


class Cart(gymnasium.Env):
    """A cart that its action pushes along a rail from −3 to 3; it sees its position and speed."""

    observation_space = gymnasium.spaces.Box(np.float32([-3, -1]), np.float32([3, 1]))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, probe: Probe):
        """Nothing moves before ``reset``."""
        self.probe, self.state = probe, np.zeros(2, np.float32)

    def reset(self, *, seed=None, options=None):
        """At rest, somewhere in the middle half."""
        super().reset(seed=seed)
        self.state = np.float32([self.np_random.uniform(-1.5, 1.5), 0.0])
        if self.probe in (PROBES["goal"], PROBES["hurry"]):
            self.state[0] = -abs(self.state[0]) - 0.1
        return self.state.copy(), {}

    def step(self, action):
        """Push, move, and get paid for where that leads."""
        push = float(np.clip(action[0], -1.0, 1.0))
        speed = np.clip(self.state[1] + 0.3 * push, -1.0, 1.0)
        position = np.clip(self.state[0] + 0.2 * speed, -3.0, 3.0)
        self.state = np.float32([position, speed])
        reward, over = self.probe.pay(float(position), float(speed), push)
        return self.state.copy(), float(reward), bool(over), False, {}


def encoder(probe: Probe) -> "lr.FunctionEncoder":
    """The probe's latents as an encoder."""

    def function(observation, action, next_observation):
        x, v, a = next_observation[:, 0], next_observation[:, 1], action[:, 0]
        return jnp.stack([jnp.asarray(each(x, v, a)) for each in probe.latents.values()], axis=-1)

    return lr.encoder_from_function(function, list(probe.latents))


def returns(name: str, method: str, seeds: list[int], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return at the end and credit correlation of each seed."""
    probe = PROBES[name]
    reads = lr.find_method(method, "replay").credit.latents != "none"
    found: dict[int, tuple[float, float]] = {}

    def note(reports):
        found.update({each.seed: (each.return_mean, each.credit["credit_correlation"]) for each in reports})

    with tempfile.TemporaryDirectory() as folder:
        lr.train(
            lambda: Cart(probe),
            method,
            encoder=encoder(probe) if reads else None,
            seed=seeds,
            out=folder,
            max_steps=LIMIT,
            quiet=True,
            on_evaluation=note,
            steps=steps,
            warmup=1000,
            evaluate_every=steps,
            evaluation_episodes=20,
            agent={"hidden": (64, 64), "learning_rate": 1e-3},
        )
    return tuple(np.array([found[seed] for seed in seeds]).T)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--probes", nargs="+", default=list(PROBES), choices=list(PROBES))
    parser.add_argument("--methods", nargs="+", default=["lare", "linear", "gp", "rrd-unbiased", "dense"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=4000)
    arguments = parser.parse_args()
    for name in arguments.probes:
        for method in arguments.methods:
            at_end, correlation = returns(name, method, arguments.seeds, arguments.steps)
            print(
                f"{name:12} {method:14} {at_end.mean():8.2f}   "
                f"{' '.join(f'{each:7.2f}' for each in at_end)}   credit correlation "
                f"{' '.join(f'{each:5.2f}' for each in correlation)}",
                flush=True,
            )
