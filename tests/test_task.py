"""Tasks: every built-in field means what it says, and every mistake in a file is found where it stands."""

import dataclasses
import functools
import pickle
import subprocess
import sys
import warnings

import gymnasium
import mujoco
import numpy as np
import pytest

from latent_reward.errors import LareError, TaskError
from latent_reward.task.check import check_task
from latent_reward.task.fields import Field
from latent_reward.task.load import load_description, load_task, task_names, task_path
from latent_reward.task.open import make_env
from latent_reward.task.task import Task, TeamTask

NAMES = tuple(name for name in task_names() if isinstance(load_task(name), Task))
WORLDS = tuple(name for name in task_names() if isinstance(load_task(name), TeamTask))


def value(task, observation, name):
    """The part of an observation that a field names."""
    (field,) = [each for each in task.observation if each.name == name]
    part = observation[field.index : field.indices.stop]
    return part if field.count > 1 else part[0]


def stepped(task, steps=30, seed=3):
    """An environment in the middle of an episode, with the observation it gave and its MuJoCo state."""
    env = make_env(task)
    env.reset(seed=seed)
    env.action_space.seed(seed)
    for _ in range(steps):
        observation = env.step(env.action_space.sample())[0]
    return observation, env.unwrapped.model, env.unwrapped.data


# ---------------------------------------------------------------- the built-in tasks


def test_the_published_tasks_are_built_in_in_both_revisions_and_four_more_in_the_newer():
    published = ("HalfCheetah", "HumanoidStandup", "Reacher", "Walker2d")
    older, newer = {f"{body}-v4" for body in published}, {f"{body}-v5" for body in published}
    assert older | newer | {"Ant-v5", "Hopper-v5", "Humanoid-v5", "Swimmer-v5"} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_built_in_task_agrees_with_its_environment(name):
    assert check_task(name) == []
    task = load_task(name)
    env = make_env(task)
    assert (task.observation_size, task.action_size) == (
        env.observation_space.shape[0],
        env.action_space.shape[0],
    )
    np.testing.assert_allclose(task.action_low, env.action_space.low)
    np.testing.assert_allclose(task.action_high, env.action_space.high)
    assert env.spec.max_episode_steps == task.max_steps == gymnasium.spec(task.env_id).max_episode_steps


@pytest.mark.parametrize("name", NAMES)
def test_observations_stay_in_the_ranges_of_the_fields(name):
    task = load_task(name)
    for steps in (1, 5, 20):
        observation = stepped(task, steps)[0]
        assert (observation >= task.observation_low - 1e-6).all()
        assert (observation <= task.observation_high + 1e-6).all()


JOINTS = {
    "Ant": 8,
    "HalfCheetah": 9,
    "Hopper": 6,
    "Humanoid": 17,
    "HumanoidStandup": 17,
    "Swimmer": 5,
    "Walker2d": 9,
}


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("Reacher")])
def test_joint_fields_hold_the_joints_they_name(name):
    task = load_task(name)
    observation, model, data = stepped(task, 12)
    limit = 10 if name.startswith(("Walker2d", "Hopper")) else np.inf
    hidden = {"slider1", "slider2"} if name.startswith("Swimmer") else {"rootx"}
    checked = 0
    for number in range(model.njnt):
        joint = model.joint(number)
        if joint.type[0] == mujoco.mjtJoint.mjJNT_FREE:
            continue
        if joint.name not in hidden:
            assert value(task, observation, joint.name) == pytest.approx(data.qpos[joint.qposadr[0]])
        speed = np.clip(data.qvel[joint.dofadr[0]], -limit, limit)
        assert value(task, observation, f"{joint.name} velocity") == pytest.approx(speed)
        checked += 1
    assert checked == JOINTS[name.split("-")[0]]


@pytest.mark.parametrize("name", NAMES)
def test_action_fields_name_the_joints_that_the_actuators_drive(name):
    model = make_env(load_task(name)).unwrapped.model
    driven = [model.joint(model.actuator_trnid[number, 0]).name for number in range(model.nu)]
    assert [each.name for each in load_task(name).action] == driven


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("Half", "Hopper", "Walker"))])
def test_pitch_turns_the_nose_down(name):
    task = load_task(name)
    _, model, data = stepped(task, 1)
    data.qpos[2] = 0.3
    mujoco.mj_forward(model, data)
    forward_axis = data.body("torso").xmat.reshape(3, 3)[:, 0]
    assert forward_axis[0] > 0 > forward_axis[2]
    assert "positive" in next(each.meaning for each in task.observation if each.name == "rooty")


@pytest.mark.parametrize("revision", ["v4", "v5"])
def test_reacher_fields_follow_from_the_state_of_the_arm(revision):
    task = load_task(f"Reacher-{revision}")
    observation, _, data = stepped(task)
    for joint in (0, 1):
        assert value(task, observation, f"cos(joint{joint})") == pytest.approx(np.cos(data.qpos[joint]))
        assert value(task, observation, f"sin(joint{joint})") == pytest.approx(np.sin(data.qpos[joint]))
        assert value(task, observation, f"joint{joint} velocity") == pytest.approx(data.qvel[joint])
    fingertip, target = data.body("fingertip").xpos, data.body("target").xpos
    for axis, letter in enumerate("xyz"[: 3 if revision == "v4" else 2]):
        error = value(task, observation, f"fingertip_{letter} - target_{letter}")
        assert error == pytest.approx(fingertip[axis] - target[axis], abs=1e-6)
    assert value(task, observation, "target_x") == pytest.approx(target[0])
    assert value(task, observation, "target_y") == pytest.approx(target[1])
    # The link lengths that the fields give: the elbow and the fingertip follow from the two angles.
    first, second = data.qpos[0], data.qpos[0] + data.qpos[1]
    tip = 0.1 * np.array([np.cos(first), np.sin(first)]) + 0.11 * np.array([np.cos(second), np.sin(second)])
    np.testing.assert_allclose(tip, fingertip[:2], atol=1e-6)


@pytest.mark.parametrize("name", ["HumanoidStandup-v4", "HumanoidStandup-v5", "Humanoid-v5"])
def test_humanoid_root_and_blocks_hold_what_the_fields_say(name):
    task, revision = load_task(name), name[-2:]
    observation, model, data = stepped(task, 60)
    first = 0 if revision == "v4" else 1
    bodies = [model.body(number).name for number in range(1, model.nbody)]

    assert value(task, observation, "root z") == pytest.approx(data.qpos[2])
    quaternion = [value(task, observation, f"root quaternion {letter}") for letter in "wxyz"]
    np.testing.assert_allclose(quaternion, data.qpos[3:7])
    for axis, letter in enumerate("xyz"):
        assert value(task, observation, f"root {letter} velocity") == pytest.approx(data.qvel[axis])
        turning = value(task, observation, f"root angular velocity {letter}")
        assert turning == pytest.approx(data.qvel[3 + axis])

    rows = {
        "cinert": value(task, observation, "cinert").reshape(-1, 10),
        "cvel": value(task, observation, "cvel").reshape(-1, 6),
        "cfrc_ext": value(task, observation, "cfrc_ext").reshape(-1, 6),
    }
    for name, block in rows.items():
        np.testing.assert_allclose(block, getattr(data, name)[first:])
        (field,) = [each for each in task.observation if each.name == name]
        assert ", ".join(bodies) in field.meaning
        assert (first == 1) or not block[0].any()  # the world row of v4
    # The layout of a row, from quantities that MuJoCo gives elsewhere.
    centre, foot = data.subtree_com[1], model.body("right_foot").id
    inertia, motion = rows["cinert"][foot - first], rows["cvel"][foot - first]
    np.testing.assert_allclose(inertia[6:9], model.body_mass[foot] * (data.xipos[foot] - centre), atol=1e-6)
    assert inertia[9] == pytest.approx(model.body_mass[foot])
    velocity = np.zeros(6)  # at the centre of mass of the foot, along the world axes: turning, then moving
    mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_BODY, foot, velocity, 0)
    np.testing.assert_allclose(motion[:3], velocity[:3], atol=1e-6)
    carried = velocity[3:] + np.cross(velocity[:3], centre - data.xipos[foot])
    np.testing.assert_allclose(motion[3:], carried, atol=1e-6)

    torques = value(task, observation, "qfrc_actuator")
    np.testing.assert_allclose(torques, data.qfrc_actuator[0 if revision == "v4" else 6 :])
    by_joint = dict(
        zip([each.name for each in task.action], data.ctrl * model.actuator_gear[:, 0], strict=True)
    )
    for number in range(1, model.njnt):
        joint = model.joint(number)
        place = joint.dofadr[0] - (0 if revision == "v4" else 6)
        assert torques[place] == pytest.approx(by_joint[joint.name])


def test_contact_block_is_torque_then_force_along_the_world_axes():
    _, model, data = stepped(load_task("HumanoidStandup-v5"), 60)
    # The observation keeps the forces of the last inner step; compute both from one and the same state.
    mujoco.mj_forward(model, data)
    mujoco.mj_rnePostConstraint(model, data)
    total = np.zeros(3)
    for number in range(data.ncon):
        contact, wrench = data.contact[number], np.zeros(6)
        if 0 not in (model.geom_bodyid[contact.geom1], model.geom_bodyid[contact.geom2]):
            continue
        mujoco.mj_contactForce(model, data, number, wrench)
        towards_body = 1 if model.geom_bodyid[contact.geom1] == 0 else -1
        total += towards_body * contact.frame.reshape(3, 3).T @ wrench[:3]
    assert np.abs(total).max() > 1
    np.testing.assert_allclose(data.cfrc_ext[1:, 3:].sum(0), total, rtol=1e-3, atol=1e-3)


def test_humanoid_head_points_along_negative_x_and_its_chest_along_z():
    _, model, data = stepped(load_task("HumanoidStandup-v5"), 1)
    data.qpos[:] = 0
    data.qpos[2:4] = 1, 1  # the starting pose, one metre up
    mujoco.mj_forward(model, data)
    torso, head, foot = data.body("torso").xpos, data.geom("head").xpos, data.geom("left_foot").xpos
    assert head[0] < torso[0] < foot[0]
    right_foot = data.geom("right_foot").xpos.copy()
    data.joint("right_hip_y").qpos = -1
    mujoco.mj_forward(model, data)
    assert data.geom("right_foot").xpos[2] > right_foot[2] + 0.3  # lifted to the side of the chest
    # Upright means head up: a quarter turn about y brings -x of the torso to the top.
    data.joint("right_hip_y").qpos = 0
    data.qpos[3:7] = np.sqrt(0.5), 0, np.sqrt(0.5), 0
    mujoco.mj_forward(model, data)
    height = data.body("torso").xpos[2] - (data.geom("left_foot").xpos[2] - 0.075)
    assert height == pytest.approx(1.2, abs=0.05)
    w, x, y, z = data.qpos[3:7]
    assert 2 * (w * y - x * z) == pytest.approx(1)


@functools.cache
def model_and_data(name):
    return stepped(load_task(name), 1)[1:]


def posed(name, **joints):
    """The MuJoCo state of a body in the air that is level and straight, except for the joints that are given.

    It is valid until the next call.
    """
    model, data = model_and_data(name)
    data.qpos[:] = 0
    if model.joint(0).type[0] == mujoco.mjtJoint.mjJNT_FREE:
        data.qpos[2:4] = 1.4, 1
    for joint, angle in joints.items():
        data.joint(joint).qpos = angle
    mujoco.mj_forward(model, data)
    return data


def test_walking_humanoid_is_upright_and_its_joints_turn_as_the_fields_say():
    straight = posed("Humanoid-v5")
    x, _, z = straight.geom("head").xpos - straight.body("torso").xpos
    assert (x, z) == pytest.approx((0, 0.19))
    right, left = (straight.body(f"{side}_foot").xpos.copy() for side in ("right", "left"))
    assert right[1] < 0 < left[1]
    assert posed("Humanoid-v5", right_hip_x=-0.4).body("right_foot").xpos[1] < right[1] - 0.1
    assert posed("Humanoid-v5", left_hip_x=-0.4).body("left_foot").xpos[1] > left[1] + 0.1
    assert posed("Humanoid-v5", right_hip_y=-1).body("right_foot").xpos[0] > 0.5
    assert posed("Humanoid-v5", abdomen_y=-0.5).body("right_foot").xpos[0] > 0.3
    assert posed("Humanoid-v5", right_knee=-1).body("right_foot").xpos[0] < -0.3
    for side, sign in (("right", -1), ("left", 1)):
        toes = posed("Humanoid-v5", **{f"{side}_hip_z": -0.5}).body(f"{side}_thigh").xmat.reshape(3, 3)[:, 0]
        assert sign * toes[1] > 0.3


def test_hopper_joints_turn_as_the_fields_say():
    straight = posed("Hopper-v5").geom("foot_geom").xpos.copy()
    assert posed("Hopper-v5", thigh_joint=-0.5).geom("foot_geom").xpos[0] < straight[0] - 0.3
    assert posed("Hopper-v5", leg_joint=-0.5).geom("foot_geom").xpos[0] < straight[0] - 0.1
    assert posed("Hopper-v5", foot_joint=0.3).geom("foot_geom").xpos[2] > straight[2] + 0.01


def test_ant_legs_are_where_the_fields_say_and_contacts_are_clipped():
    task = load_task("Ant-v5")
    for number, x, y, bent in ((1, 1, 1, 1), (2, -1, 1, -1), (3, -1, -1, -1), (4, 1, -1, 1)):
        (field,) = [each for each in task.observation if each.name == f"hip_{number}"]
        assert f"towards {x:+d}x and {y:+d}y".replace("1", "") in field.meaning
        data = posed("Ant-v5", **{f"ankle_{number}": bent})
        upper = data.body(f"aux_{number}").id
        hip, lower = data.xpos[upper].copy(), upper + 1
        assert (np.sign(hip[:2]) == (x, y)).all()
        assert data.geom_xpos[data.model.body_geomadr[lower]][2] < hip[2] - 0.1
        turned = posed("Ant-v5", **{f"hip_{number}": 0.4}).xpos[lower] - hip
        assert x * turned[1] - y * turned[0] > 0  # counter-clockwise
    observation, _, data = stepped(task, 24)
    block = value(task, observation, "cfrc_ext").reshape(13, 6)
    np.testing.assert_allclose(block, np.clip(data.cfrc_ext[1:], -1, 1))
    assert np.abs(data.cfrc_ext).max() > 1


def test_swimmer_velocity_is_that_of_a_point_behind_the_front_link():
    task = load_task("Swimmer-v5")
    data = posed("Swimmer-v5")
    assert data.geom_xpos[1][0] == pytest.approx(1)  # the middle of the front link, which is one metre long
    assert data.body("torso").xpos[0] == pytest.approx(0)
    observation, model, data = stepped(task)
    velocity = np.zeros(6)
    mujoco.mj_forward(model, data)
    mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_XBODY, model.body("torso").id, velocity, 0)
    seen = [value(task, observation, f"slider{axis} velocity") for axis in (1, 2)]
    np.testing.assert_allclose(velocity[3:5], seen, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_plain_goal_betrays_no_term_of_the_reward(name):
    words = load_task(name).goal["plain"].lower()
    betrayals = (
        "torque",
        "control",
        "cost",
        "reward",
        "penal",
        "distance",
        "velocity",
        "speed",
        "fast",
        "height",
    )
    assert not [word for word in betrayals if word in words]


# ---------------------------------------------------------------- loading


def test_unknown_name_lists_close_ones_and_the_remedy():
    with pytest.raises(LareError, match=r"'HalfCheeta-v5'.*HalfCheetah-v5.*lare tasks"):
        load_task("HalfCheeta-v5")
    with pytest.raises(LareError, match=r"no file 'none\.yaml'"):
        load_task("none.yaml")


def test_task_survives_copying_and_pickling():
    task = load_task("Reacher-v5")
    assert dataclasses.replace(task, max_steps=10).max_steps == 10
    assert pickle.loads(pickle.dumps(task)) == task
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.name = "other"  # pyright: ignore


def test_description_has_one_line_per_field_with_index_unit_and_range():
    task = load_task("HumanoidStandup-v5")
    text = task.describe("observation")
    assert len(text.splitlines()) == len(task.observation) + 1
    assert "(batch_size, 348)" in text
    assert "- observation[:, 45:175] cinert" in text
    assert "- observation[:, 22] root x velocity (m/s):" in text
    assert "- action[:, 0] abdomen_y (no unit, from -0.4 to 0.4):" in task.describe("action")


def test_role_can_be_overridden():
    task = load_task("Reacher-v5")
    assert "evaluation_func" in task.role
    assert dataclasses.replace(task, role="Be brief.").role == "Be brief."


# ---------------------------------------------------------------- the environment


def test_older_revisions_open_without_a_warning_and_others_still_warn():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make_env(load_task("HalfCheetah-v4"))
    assert caught == []
    with pytest.warns(DeprecationWarning, match="out of date"):
        gymnasium.make("Reacher-v4")


def test_opening_an_environment_leaves_no_log_file_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_env(load_task("HalfCheetah-v5"))
    assert list(tmp_path.iterdir()) == []


def test_mujoco_is_imported_only_for_environments_that_need_it():
    """Nor need it be installed: in this process its import fails."""
    code = (
        "import sys; sys.modules['mujoco'] = None\n"
        "from latent_reward.envs.gym import open_env\n"
        "from latent_reward.errors import TaskError\n"
        "open_env('Pendulum-v1').close()\n"
        "try: open_env('Reacher-v5')\n"
        "except TaskError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == 'env: Reacher-v5 needs MuJoCo; run `pip install "latent-reward[mujoco]"`\n'


def test_time_limit_is_the_one_of_the_task():
    env = make_env(dataclasses.replace(load_task("Reacher-v5"), max_steps=3))
    env.reset(seed=0)
    truncated = [env.step(env.action_space.sample())[3] for _ in range(3)]
    assert truncated == [False, False, True]


@pytest.mark.parametrize(
    ("env_id", "text"),
    [
        ("CartPole-v1", "action space of CartPole-v1 is a Discrete"),
        ("FrozenLake-v1", "observation space of FrozenLake-v1 is a Discrete"),
        ("Reachr-v5", "did you mean Reacher-v5"),
        (
            "no_such_package:Thing-v0",
            "would import the module no_such_package, which .* `--import no_such_package`",
        ),
        ("Reacher-v1", "cannot be created"),
    ],
)
def test_environment_that_cannot_be_used_is_refused_with_a_remedy(env_id, text):
    task = dataclasses.replace(load_task("Reacher-v5"), env_id=env_id)
    with pytest.raises(TaskError, match=text):
        make_env(task)
    (problem,) = check_task(task)
    assert problem.field == "env"
    assert problem.remedy


# ---------------------------------------------------------------- checking a file


GOOD = """\
name: Mine
env: Reacher-v5
max_steps: 50
goal:
  plain: reach it
  paper: reach it gently
observation:
  - {index: 0, name: angles, count: 8, meaning: the arm}
  - {index: 8, name: x, meaning: error}
  - {index: 9, name: y, meaning: error}
action:
  - {index: 0, name: one, low: -1, high: 1, meaning: torque}
  - {index: 1, name: two, low: -1, high: 1, meaning: torque}
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("index: 9, name: y", "index: 17, name: y", 10, "index 17 is outside the 10-dimensional observation"),
        ("index: 9, name: y", "index: 8, name: y", 10, "'x' already describes index 8"),
        ("index: 9, name: y", "index: 8, name: y", 7, "nothing describes index 9"),
        ("count: 8", "count: 9", 9, "'angles' already describes index 8"),
        ("count: 8", "count: 6", 7, "nothing describes indices 6 to 7"),
        ("index: 9, name: y", "index: 9, count: 2, name: y", 10, "reaches index 10, beyond"),
        ("index: 9, name: y", "index: -9, name: y", 10, "-9 does not fit"),
        ("name: y, ", "", 10, "the key 'name' is missing"),
        ("name: two, low: -1", "name: two, low: -2", 13, "-2 contradicts the action space"),
        ("name: two, low: -1", "name: two, low: 3", 13, "low 3 is above high 1"),
        ("name: two, low: -1", "name: two, low: .nan", 13, "finite"),
        ("max_steps: 50", "max_steps: 500", 3, "500 steps, but Reacher-v5 is registered with 50"),
        ("max_steps: 50", "max_steps: '50'", 3, "valid integer"),
        ("env: Reacher-v5", "env: Reachr-v5", 2, "did you mean Reacher-v5"),
        ("env: Reacher-v5", "env: CartPole-v1", 2, "is a Discrete"),
        ("env: Reacher-v5", "env: Reacher-v5\nenv_kwargs: {gravity: 1}", 3, "refuses {'gravity': 1}"),
        ("env: Reacher-v5", "env: Reacher-v5\nenv: Reacher-v4", 3, "given twice"),
        ("env: Reacher-v5\n", "", 1, "the key 'env' is missing"),
        ("max_steps", "max_step", 3, "did you mean max_steps"),
        ("meaning: the arm", "mening: the arm", 8, "did you mean meaning"),
        ("  paper: reach it gently\n", "", 4, "the goal variant 'paper' is missing"),
        ("plain: reach it", "plan: reach it", 5, "did you mean plain"),
        ("plain: reach it", "plain:", 5, "the text is empty"),
        ("meaning: the arm", "meaning: ''", 8, "the text is empty"),
        ("env: Reacher-v5", "env: [Reacher-v5", 3, "not valid YAML"),
    ],
)
def test_each_mistake_is_found_on_its_line(tmp_path, old, new, line, message):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    assert check_task(path) == []
    assert GOOD.count(old) >= 1
    path.write_text(GOOD.replace(old, new, 1))
    found = [str(problem) for problem in check_task(path)]
    assert any(text.startswith(f"mine.yaml:{line}: ") and message in text for text in found), found
    assert all("; " in text for text in found)


def test_observation_range_may_be_narrower_than_its_space_but_not_wider():
    gymnasium.register("BoundedThing-v0", entry_point=lambda **_: _Bounded())
    task = Task(
        name="bounded",
        env_id="BoundedThing-v0",
        max_steps=5,
        goal={"plain": "a", "paper": "b"},
        observation=(Field(index=0, name="a", meaning="a", low=0, high=1),),
        action=(Field(index=0, name="a", meaning="a"),),
    )
    assert check_task(task) == []
    wider = dataclasses.replace(task, observation=(dataclasses.replace(task.observation[0], low=-3),))
    (problem,) = check_task(wider)
    assert str(problem).startswith("bounded: observation[0].low: -3 contradicts the observation space")


class _Bounded(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))


def test_loading_a_wrong_file_names_the_first_mistake_and_counts_the_rest(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("env:", "environment:").replace("name: x", "nme: x"))
    with pytest.raises(LareError, match=r"mine\.yaml:1: env: .*and 3 more: run `lare check"):
        load_task(path)


# ---------------------------------------------------------------- teams


@pytest.mark.parametrize("name", WORLDS)
def test_built_in_team_task_agrees_with_its_world(name):
    if name.startswith("smax"):
        pytest.importorskip("jaxmarl", reason="jaxmarl is not installed (extra `smax`)")
    assert check_task(name) == []


def write_teams(tmp_path, edit=lambda text: text):
    path = tmp_path / "mine.yaml"
    path.write_text(edit(task_path("cn-6").read_text()))
    return path


def test_a_lone_team_is_described_by_the_name_of_its_task(tmp_path):
    task = load_task("cn-6")
    description = load_description("cn-6")
    assert task.descriptions == (description,)
    assert (description.name, description.env_id, description.max_steps) == ("cn-6", "cn-6", 25)
    assert (description.observation_size, description.action_size) == (26, 5)
    assert load_description(write_teams(tmp_path)) == description
    with pytest.raises(LareError, match=r"'cn-6/prey' names no team; write cn-6"):
        load_description("cn-6/prey")


def test_several_teams_are_told_apart_by_name(tmp_path):
    def twice(text):
        head, team = text.split("teams:\n")
        return head + "teams:\n" + team + team.replace("name: agents", "name: prey")

    path = write_teams(tmp_path, twice)
    first, second = load_task(path).descriptions
    assert (first.name, second.name, second.env_id) == ("cn-6/agents", "cn-6/prey", "cn-6/prey")
    assert load_description(f"{path}/prey") == second
    with pytest.raises(LareError, match=r"names no team; write cn-6/agents or cn-6/prey"):
        load_description(path)
    assert [problem.message for problem in check_task(path)] == ["the teams of cn-6 are agents"]


@pytest.mark.parametrize(
    ("old", "new", "field", "message"),
    [
        ("world: cn-6", "world: cn-7", "world", "did you mean cn-6"),
        ("max_steps: 25", "max_steps: 26", "max_steps", "has 25"),
        ("agents: 6", "agents: 7", "teams[0].agents", "has 6 agents"),
        (
            "count: 10",
            "count: 8",
            "teams[0].observation",
            "indices 24 to 25 of the 26-dimensional observation",
        ),
        ("index: 4, name: push +y", "index: 5, name: push +y", "teams[0].action[4]", "outside the 5-dim"),
        ("    agents: 6", "    agent: 6", "teams[0].agent", "did you mean agents"),
        ("      plain: ", "      plan: ", "teams[0].goal.plan", "did you mean plain"),
        ("- name: agents", "- name: The Agents", "teams[0].name", "does not fit"),
    ],
)
def test_each_mistake_in_a_team_task_is_found_where_it_stands(tmp_path, old, new, field, message):
    problems = check_task(write_teams(tmp_path, lambda text: text.replace(old, new, 1)))
    assert any(each.field == field and message in f"{each.message}; {each.remedy}" for each in problems), (
        problems
    )
    assert all(each.line is not None for each in problems)
