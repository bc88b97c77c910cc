"""Train the prey of predator–prey: with IPPO, against predators that learn too, with a penalty for running away.

``python scripts/train_prey.py 6 15 30`` writes the policies that come with the package;
``benchmarks/prey_escape.py`` shows how well they escape.
"""

import argparse

import jax
import numpy as np
from safetensors.numpy import save_file

from latent_reward.agents.ppo import PPO
from latent_reward.credit.methods import find_method
from latent_reward.envs.particle.predator_prey import SCALES, competitive_pp
from latent_reward.envs.particle.prey import FOLDER
from latent_reward.training.learner import team_learners
from latent_reward.training.on_policy import OnPolicy, episode_learner
from latent_reward.training.plan import make_plan

PER_CALL = 50  # iterations between two lines of progress


def train(agents: int, iterations: int, rate: float, seed: int) -> dict[str, np.ndarray]:
    """The weights of the prey after ``iterations`` of both teams."""
    world = competitive_pp(agents, walled=True)
    agent = PPO(learning_rate=rate, clip=0.2, epochs=8, minibatch=512)
    plan = make_plan(agent, {"iterations": iterations, "episodes": 64})
    teams = team_learners(world, find_method("dense", "episodes").credit, agent, (None, None))
    training = OnPolicy(episode_learner(teams, plan), plan, (seed,), world)
    while training.iteration < iterations:
        until = min(training.iteration + PER_CALL, iterations)
        while training.iteration < until:
            training.advance(until * training.steps_per_round)
        returns = [round(report.training_return, 1) for report in training.evaluate()]
        print(f"{agents}: iteration {until}, returns of predators and prey {returns}", flush=True)
    prey = agent.actor(teams[1].spec, jax.tree.map(lambda leaf: leaf[0], training.states[1].agent))
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
