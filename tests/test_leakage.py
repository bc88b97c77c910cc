"""Leakage: texts that give a reward away are found with their place; clean ones cause no warning."""

import dataclasses

import pytest

from latent_reward.task.leakage import leaks
from latent_reward.task.load import load_task, task_names

REACHER = load_task("Reacher-v5")


def of_goal(text, task=REACHER):
    changed = dataclasses.replace(task, goal={"plain": text, "paper": "Reach the target."})
    return [each.message for each in leaks(changed)]


@pytest.mark.parametrize("name", task_names())
def test_no_built_in_task_gives_its_reward_away_in_the_plain_wording(name):
    assert leaks(name, variants=("plain",)) == []
    assert leaks(load_task(name), variants=("plain",)) == []


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "HumanoidStandup-v5", "Reacher-v5", "Walker2d-v5"])
def test_the_paper_wording_tells_that_the_action_costs(name):
    (hint,) = leaks(name)
    assert hint.field == "goal.paper"
    assert "asks to act little" in hint.message
    lines = (line.strip() for line in open_text(name).splitlines())
    assert next(number for number, line in enumerate(lines, 1) if line.startswith("paper:")) == hint.line


def open_text(name):
    from latent_reward.task.load import task_path

    return task_path(name).read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Reach the target; the reward is higher when you are closer.", "speaks of a reward"),
        ("Reach the target and get a bonus at the end.", "speaks of a reward"),
        ("Falling is penalised.", "speaks of a reward"),
        ("There is a penalty on large torques.", "speaks of a reward"),
        ("Run forward at a low cost.", "speaks of a cost"),
        ("Run forward. The ctrl_cost should be small.", "names a term of a reward ('ctrl_cost')"),
        ("Keep the healthy_reward.", "names a term of a reward ('healthy_reward')"),
        ("The forward_reward_weight is 1.25.", "names a term of a reward"),
        ("What counts is reward_dist and nothing else.", "names a term of a reward ('reward_dist')"),
        ("Be fast with weight 1 and gentle with weight 0.1.", "gives a weight ('weight 1')"),
        ("Both wishes are weighted alike.", "gives a weight ('weighted')"),
        ("The second wish has the coefficient 0.1.", "gives a weight ('coefficient')"),
        ("Be fast: speed minus effort.", "writes a formula ('minus')"),
        ("Keep the squared distance small.", "writes a formula ('squared')"),
        ("Keep the sum of squares of the angles small.", "writes a formula ('sum of squares')"),
        ("What is judged is speed - 0.1 * effort.", "writes a formula"),
        ("Judged by 0.1 × effort.", "writes a formula"),
        ("What is judged is -angle^2.", "writes a formula"),
        ("What is judged is exp(-distance).", "writes a formula"),
        ("It earns +1 for every step.", "counts points ('+1 for')"),
        ("You get ten points per box.", "counts points ('points per')"),
        ("Minimise fingertip_x - target_x.", "asks for an extreme of a field"),
        ("Keep joint0 velocity as small as possible.", "asks for an extreme of a field"),
        ("The torques should not be excessive.", "asks to act little ('torques' with 'excessive')"),
        ("Reach it while saving energy.", "asks to act little"),
    ],
)
def test_a_goal_that_gives_the_reward_away_is_caught(text, what):
    assert any(message.startswith(what) for message in of_goal(text)), of_goal(text)


@pytest.mark.parametrize(
    "text",
    [
        "Make the free end of the arm reach the target.",
        "Carry the weight of 5 kg to the top of the hill without dropping it.",
        "The robot weighs 14 kg and stands on ice with a friction coefficient near 0; make it walk.",
        "A pendulum hangs from a pivot, which a weak motor can turn. Make it stand upright.",
        "Swing up two poles on a cart that runs on a rail from -2.4 m to 2.4 m.",
        "Park the car in the square bay at x = 3, within 0.1 m, before the 200 steps are over.",
        "Fly as far as you can and land within 5 s; below 0.8 m or above 2 m the episode ends.",
        "Drive to the goal. Get there as fast as possible.",
    ],
)
def test_an_innocent_goal_is_left_alone(text):
    assert of_goal(text) == []


def test_words_are_reported_once_and_with_their_place():
    (hint,) = leaks(dataclasses.replace(REACHER, goal={"plain": "Lower ctrl_cost.", "paper": "Reach it."}))
    assert hint.field == "goal.plain"
    assert "what is wanted" in hint.remedy


def test_the_meaning_of_a_field_is_looked_at():
    first = dataclasses.replace(REACHER.observation[0], meaning="angle, from which the reward is computed")
    goal = {"plain": "Reach it.", "paper": "Reach it."}
    task = dataclasses.replace(REACHER, goal=goal, observation=(first, *REACHER.observation[1:]))
    (hint,) = leaks(task)
    assert hint.field == "observation[0].meaning"
    assert "speaks of a reward" in hint.message


def test_the_place_in_a_file_is_named_and_no_task_has_no_hints(tmp_path):
    text = open_text("Reacher-v5").replace("reach the target.", "reach the target. The penalty is small.")
    (tmp_path / "mine.yaml").write_text(text, "utf-8")
    hint = next(each for each in leaks(tmp_path / "mine.yaml") if "penalty" in each.message)
    assert (hint.file, hint.line, hint.field) == ("mine.yaml", 7, "goal.plain")
    (tmp_path / "broken.yaml").write_text("name: [", "utf-8")
    assert leaks(tmp_path / "broken.yaml") == []
