"""Train the prey of predator–prey: with IPPO, against predators that learn too, with a penalty for running away.

``python scripts/train_prey.py 6 15 30`` writes the policies that come with the package;
``benchmarks/prey_escape.py`` shows how well they escape.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from latent_reward.agents.ppo import PPO
from latent_reward.credit.methods import find_method
from latent_reward.envs.particle.predator_prey import SCALES, competitive_pp
from latent_reward.envs.particle.prey import FOLDER
from latent_reward.training import from_episodes as core
from latent_reward.training.learner import team_learners
from latent_reward.training.on_policy import episode_learner
from latent_reward.training.plan import make_plan

PER_CALL = 50  # iterations between two lines of progress


def train(agents: int, iterations: int, rate: float, seed: int) -> dict[str, np.ndarray]:
    """The weights of the prey after ``iterations`` of both teams."""
    world = competitive_pp(agents, walled=True)
    agent = PPO(learning_rate=rate, clip=0.2, epochs=8, minibatch=512)
    plan = make_plan(agent, {"iterations": iterations, "episodes": 64})
    teams = team_learners(world, find_method("dense", "episodes").credit, agent, (None, None))
    learner, keys = episode_learner(teams, plan), jax.vmap(jax.random.key)(np.array([seed]))
    states = core.init(learner, keys)
    for done in range(0, iterations, PER_CALL):
        until = min(done + PER_CALL, iterations)
        states, measures = core.advance(learner, world, states, keys, jnp.int32(done), jnp.int32(until))
        returns = [float(team.training_return[0]) for team in measures]
        print(
            f"{agents}: iteration {until}, returns of predators and prey {np.round(returns, 1)}", flush=True
        )
    prey = agent.actor(teams[1].spec, jax.tree.map(lambda leaf: leaf[0], states[1].agent))
    tensors = {f"weight.{layer}": np.asarray(tensor) for layer, tensor in enumerate(prey.weights)}
    return tensors | {f"bias.{layer}": np.asarray(tensor) for layer, tensor in enumerate(prey.biases)}


def main() -> None:
    """Train and write one policy per number of predators."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("agents", type=int, nargs="+", choices=sorted(SCALES))
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    for agents in options.agents:
        tensors = train(agents, options.iterations, options.rate, options.seed)
        save_file(tensors, FOLDER / f"pp-{agents}.safetensors")


if __name__ == "__main__":
    main()
