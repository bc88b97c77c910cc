"""Calls with wrong arguments, each with the field that its message begins with; run as a program, it makes them all.

It prints what each of them raised as JSON. Type checks at run time, which the tests switch on, would stop many of these
calls before the package sees them, so they are made in a program of their own, as a user makes them.
"""

import json
import sys
from pathlib import Path

COUNTS = (
    "'many'",
    "100.5",
    "-1",
    "True",
    "float('nan')",
    "float('inf')",
    "1 << 40",
    "[3]",
    "'3'",
    "np.float32(3)",
)
SPACES = "observation_space=2, action_space=BOX"


def train(arguments):
    """A call of ``lr.train`` that is possible but for ``arguments``, and short should it be possible with them."""
    return f"lr.train('Pendulum-v1', **{{'method': 'linear', 'steps': 60, **dict({arguments})}})"


def credit(arguments):
    """A call of ``lr.Credit`` that is possible but for ``arguments``."""
    return f"lr.Credit(**{{**dict({SPACES}, horizon=5, method='linear'), **dict({arguments})}})"


def assign(arguments):
    """A call of ``lr.assign`` that is possible but for ``arguments``."""
    return f"lr.assign([EPISODE], **{{**dict({SPACES}, method='linear'), **dict({arguments})}})"


CALLS = [
    *(
        (train(f"{name}={wrong}"), name)
        for name in ("steps", "warmup", "batch_size", "evaluate_every", "draw", "max_steps")
        for wrong in (*COUNTS, *([] if name == "max_steps" else ["None"]))
    ),
    *((train(f"seed={wrong}"), "seed") for wrong in (*COUNTS, "None", "[0, '1']", "'0..3'") if wrong != "[3]"),
    *((train(f"seed={wrong}"), "seeds") for wrong in ("[]", "[1, 1]", "range(5000)", "np.zeros(2, int)")),
    *((train(f"quiet={wrong}"), "quiet") for wrong in ("'yes'", "None", "1")),
    *((train(f"{name}={wrong}"), name) for name in ("on_episode", "on_evaluation", "on_checkpoint")
       for wrong in ("3", "'x'")),
    *((train(f"loggers={wrong}"), "loggers") for wrong in ("3", "[3]", "'x'", "None")),
    *((train(f"out={wrong}"), "out") for wrong in ("3", "''", "'a\\0b'", "b'x'")),
    *((train(f"method={wrong}"), "method") for wrong in (
        "3", "None", "'lair'", "{'name': 'linear', 'groups': 3}", "{'name': 3}",
        "lr.Recipe('x', 3)", "lr.Recipe('../x', 3)")),
    *((train(f"agent={wrong}"), "agent") for wrong in (
        "3", "'sack'", "lr.TD3", "{'kind': 3}", "lr.TD3(learning_rate=float('nan'))", "lr.TD3(hidden=(8, 0))",
        "lr.TD3(discount=-1)", "{'learning_rate': 'fast'}", "{'hidden': [10**9]}")),
    *((train(f"agent=lr.TD3({wrong})"), "settings: plan.agent") for wrong in (
        "learning_rate='fast'", "hidden=8")),
    (train("agent=lr.TD3(policy_delay=1.5)"), "policy_delay"),
    *((train(f"method='lare', encoder={wrong}"), "encoder") for wrong in (
        "lambda o, a: o", "3", "''", "len", "'no/such'", "lr.Encoder", "b'x'")),
    (train("encoder='HalfCheetah-v5'"), "encoder"),
    (train("no_such=3"), "no_such"),
    (train("iterations=3"), "iterations"),
    *((f"lr.train({wrong}, 'linear')", "")
       for wrong in ("3", "None", "''", "'no-such'", "lr.TD3", "b'x'", "'a\\0'", "[]")),
    *((f"lr.load_task({wrong})", "task") for wrong in ("3", "None", "'a\\0.yaml'", "''", "[]", "b'x'")),
    *((f"check_task({wrong})", "task") for wrong in ("3", "None", "'no.yaml'")),
    *((f"lr.make_env({wrong})", "task") for wrong in ("'Reacher-v5'", "lr.load_task('cn-6')", "None")),
    *((f"lr.load_encoder({wrong})", "encoder")
       for wrong in ("3", "None", "len", "'a\\0'", "''", "'HalfChetah-v5'", "lr.TD3()")),
    *((f"lr.load_encoder('HalfCheetah-v5', draw={wrong})", "draw") for wrong in COUNTS),
    ("lr.load_encoder('HalfCheetah-v5', draw=99)", ""),
    *((f"lr.{name}({wrong})", "folder") for name in ("load_run", "resume")
       for wrong in ("3", "None", "''", "'a\\0'", "[]")),
    ("lr.load_run('nowhere')", "run"),
    ("lr.resume('nowhere', quiet=3)", "quiet"),
    ("lr.resume('nowhere', loggers=[3])", "loggers"),
    *((f"lr.assign({wrong}, {SPACES})", "episode") for wrong in ("3", "[3]", "EPISODE", "[]", "None", "'x'")),
    *((assign(f"seed={wrong}"), "seed") for wrong in (*COUNTS, "None")),
    *((assign(f"updates={wrong}"), "updates") for wrong in (*COUNTS, "0")),
    *((assign(f"method={wrong}"), "method") for wrong in ("3", "None", "'lair'", "[]")),
    *((assign(f"method='lare', encoder={wrong}"), "encoder") for wrong in ("len", "3", "None", "lambda o, a: o")),
    ("lr.assign([EPISODE], task=3)", "task"),
    *((credit(f"seed={wrong}"), "seed") for wrong in (*COUNTS, "None")),
    *((credit(f"{name}={wrong}"), name) for name in ("horizon", "capacity", "agents") for wrong in (*COUNTS, "0")),
    *((credit(f"observation_space={wrong}"), "observation_space") for wrong in ("True", "'2'", "0", "-1", "2.5")),
    *((credit(f"action_space={wrong}"), "action_space") for wrong in ("3", "'x'")),
    *((credit(f"method={wrong}"), "method") for wrong in ("3", "None", "'lair'")),
    *((f"lr.Credit({wrong})", "task") for wrong in ("3", "'no-such'", "[]", "lr.TD3()")),
    ("lr.Credit('Reacher-v5', encoder=len)", "encoder"),
    ("lr.Credit('Reacher-v5', encoder=3)", "encoder"),
    *((f"lr.Credit.load({wrong})", "path") for wrong in ("3", "None", "'nowhere'", "'a\\0'")),
    *((f"CREDIT.{call}", "") for call in (
        "fit('x')", "fit(0)", "fit(1.5)", "fit(True)", "fit()", "add(3)", "add('x')", "save(3)", "save('')",
        "reward('a', 'b', 'c')", "reward([[0, 0]], [[0]], [[0]])", "reward([[0, 0]], [[0]], [[0, 0]], return_std=1)",
        "reward([[0, 0]], [[0]], [[0, float('nan')]])", "reward(None, None, None)", "episode_rewards(3)",
        "add(lr.Episode([[0, 0]] * 9, [[0]] * 8, 1.0))", "add(lr.Episode([[0, 0]] * 2, [[0]], 'x'))",
        "add(lr.Episode([[0, 0]] * 2, [[0]], None))", "add(lr.Episode([[0, 0], [0]], [[0]], 1.0))",
        "add(lr.Episode(None, None, None))", "latents([[0, 0]], [[0]], [[0, 0]])")),
    *((f"RUN.evaluate({wrong})", "episodes") for wrong in (*COUNTS, "0", "None")),
    *((f"RUN.play({wrong})", "") for wrong in (*COUNTS, "0", "1")),
    *((f"RUN.act({wrong})", "observation")
       for wrong in ("np.zeros(2)", "np.zeros((2, 2))", "'x'", "[np.nan] * 3", "None", "3")),
    *((f"RUN.{name}(seed={wrong})", "seed") for name in ("latent_weights", "credit_of")
       for wrong in ("0", "'3'", "True", "[3]")),
    *((f"RUN.latent_weights(team={wrong})", "team") for wrong in ("'x'", "3", "[]")),
    *((f"RUN.film({wrong})", "path") for wrong in ("3", "''", "'a\\0'")),
    *((f"RUN.proxy_reward({wrong})", "")
       for wrong in ("0, 0, 0", "'a', 'b', 'c'", "np.zeros((1, 2)), np.zeros((1, 1)), np.zeros((1, 3))")),
    *((f"lr.encoder_from_function(lambda o, a: o, {wrong})", "names") for wrong in (
        "3", "['a', 'a']", "['a\\n']", "['']", "['\\x1b']", "[3]", "[]", "None")),
    ("lr.encoder_from_function(3, ['a'])", "function"),
    *((f"lr.find_method({wrong}, 'replay')", "method") for wrong in ("3", "'x'", "None", "[]")),
    ("lr.find_method('lare', 'x')", "experience"),
    *((f"lr.allow_import({wrong})", "import") for wrong in ("3", "None", "'a b'", "''", "'no_such_module'", "'..x'")),
    *((f"draft_task({wrong})", "")
       for wrong in ("3", "None", "''", "'Pendulum-v1', 3", "'Pendulum-v1', None, 3", "'a\\0'")),
]  # fmt: skip


def attempt(call, scope):
    """What a call raised: the name of the class and the message."""
    try:
        eval(call, scope)
    except Exception as error:
        return type(error).__name__, str(error)
    return "", "nothing was raised"


def main(run):
    """Make every call in the current folder, which is empty, and print what came of them and what is in it then."""
    import gymnasium
    import numpy as np

    import latent_reward as lr
    from latent_reward.task.check import check_task
    from latent_reward.task.draft import draft_task

    box = gymnasium.spaces.Box(-1, 1, (1,))
    scope = {"lr": lr, "np": np, "BOX": box, "check_task": check_task, "draft_task": draft_task}
    scope["RUN"] = lr.load_run(run)
    scope["EPISODE"] = lr.Episode(np.zeros((4, 2)), np.zeros((3, 1)), 1.0)
    scope["CREDIT"] = lr.Credit(observation_space=2, action_space=box, horizon=5, method="linear")
    found = [attempt(call, scope) for call, _ in CALLS]
    print(json.dumps({"raised": found, "written": sorted(map(str, Path().rglob("*")))}))


if __name__ == "__main__":
    main(sys.argv[1])
