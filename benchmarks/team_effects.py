"""How well a fitted method tells what agents of a team do to each other: a study without a learning agent.

    python benchmarks/team_effects.py cn-6 pp-6 area

Teams of fresh policies, which act nearly at random, play iterations of 82 episodes, and ``lare`` is fitted to the
returns. Then the next iteration is played again without each agent (``--counterfactual idle``). A row has the
correlation of the decoded rewards with the true ones, of their counterfactual credit with that of the true rewards, and
the standard deviation of what true counterfactual credit adds to an agent's own reward, over that reward's own.
"""

import argparse
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import latent_reward as lr
from latent_reward.agents.ppo import PPO
from latent_reward.credit.methods import find_method
from latent_reward.envs.rollout import play, play_idle
from latent_reward.envs.worlds import find_world
from latent_reward.training import from_episodes as core
from latent_reward.training.learner import team_learners
from latent_reward.training.on_policy import episode_learner
from latent_reward.training.plan import Fresh, make_plan
from latent_reward.training.teamwork import team_reward


def study(name: str, iterations: int) -> tuple[float, float, float]:
    """The three numbers of a row."""
    world, plan = find_world(name), make_plan(PPO(), {})
    lare, dense = (find_method(method, "episodes").credit for method in ("lare", "dense"))
    encoders = tuple(lr.load_encoder(each) for each in lr.load_task(name).descriptions)
    (team,) = team_learners(world, lare, plan.agent, encoders)
    (true,) = team_learners(world, dense, plan.agent, (None,) * len(encoders))
    learner = episode_learner((true,), plan)
    fresh = core.policies(
        learner, jax.tree.map(lambda leaf: leaf[0], core.init(learner, jax.random.key(0)[None]))
    )

    @jax.jit
    def fit(credit, key):
        (played,) = play(world, fresh, key, Fresh.episodes)
        return lare.observe(credit, team.features(played.episodes), played.episodes)

    @jax.jit
    def compare(credit, key):
        setting = (world, fresh, key, Fresh.episodes)
        episodes, without = play(*setting)[0].episodes, partial(play_idle, *setting, 0)

        def decoded(each, lived):
            return each.method.reward(credit, each.features(lived), lived.mask)

        return [
            team_reward(
                wanted,
                decoded(each, episodes),
                episodes.mask,
                lambda agent, each=each: decoded(each, without(agent)),
            )
            for wanted in (Fresh(), Fresh(counterfactual="idle"))
            for each in (team, true)
        ]

    k_fit, k_compare = jax.random.split(jax.random.key(1))
    credit = lare.init(team.credit, k_compare)
    for number in range(iterations):
        credit = fit(credit, jax.random.fold_in(k_fit, number))
    found = [np.asarray(each).ravel() for each in compare(credit, k_compare)]
    correlation = lambda one, other: float(np.corrcoef(one, other)[0, 1])  # noqa: E731
    added = float(jnp.std(found[3] - found[1]) / jnp.std(found[1]))
    return correlation(found[0], found[1]), correlation(found[2], found[3]), added


def main() -> None:
    """Print one line per world."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("worlds", nargs="*", default=["cn-6", "pp-6", "area"])
    parser.add_argument(
        "--iterations", type=int, default=10, help="iterations of episodes that lare is fitted to"
    )
    options = parser.parse_args()
    print(f"{'world':10s} rewards  counterfactual credit  added")
    for name in options.worlds:
        rewards, credit, added = study(name, options.iterations)
        print(f"{name:10s} {rewards:7.3f}  {credit:21.3f}  {added:5.2f}", flush=True)


if __name__ == "__main__":
    main()
