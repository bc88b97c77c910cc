"""Open a Gymnasium environment, or raise an error that says why it cannot be used."""

import importlib
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np

from latent_reward.envs.base import close
from latent_reward.envs.named import require_named
from latent_reward.envs.spaces import described, mask_problem, parts_of
from latent_reward.errors import ANY_FAILURE, TaskError, did_you_mean, one_line, shown

_REMEDIES = {
    "observation": "wrap it with gymnasium's FlattenObservation and register the result",
    "action": "choose an environment whose actions are continuous vectors, or wrap this one and register it",
}
_NAMES_ANOTHER = ("GymV21Environment-v0", "GymV26Environment-v0")  # by an argument, which nobody looks at
_FROM_PYTHON = ", or give lr.train a function that makes it"


def open_env(
    env_id: str,
    *,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    discrete: bool = False,
) -> gymnasium.Env[np.ndarray, np.ndarray]:
    """Create an environment, by default with the time limit it is registered with.

    The built-in v4 tasks use older revisions on purpose, so Gymnasium's notice about a newer one is not shown.
    TaskError if it cannot be created, or its spaces cannot be used (:func:`require_spaces`).
    """
    kwargs = dict(env_kwargs or {})
    if render_mode is not None:  # an environment without rendering need not accept the argument
        kwargs["render_mode"] = render_mode
    try:
        _import_environment(env_id)
        with _quiet():
            # the recorder checks every result itself, and says in which step of which episode it is wrong
            env = gymnasium.make(
                env_id, max_episode_steps=max_episode_steps, disable_env_checker=True, **kwargs
            )
    except ModuleNotFoundError as error:
        module = error.name or env_id.rpartition(":")[0]
        message = f"{env_id} needs the module {module!r}, which cannot be imported"
        remedy = f"install it, or run the command in the folder that holds it and add `--import {module}`"
        raise TaskError("env", message, remedy) from error
    except gymnasium.error.DependencyNotInstalled as error:
        if "mujoco" in f"{error}".lower():  # Gymnasium would name its own extra
            message, remedy = f"{env_id} needs MuJoCo", 'run `pip install "latent-reward[mujoco]"`'
        else:
            message, remedy = f"{env_id} cannot be created: {one_line(error)}", "install what it needs"
        raise TaskError("env", message, remedy) from error
    except gymnasium.error.UnregisteredEnv as error:
        message = f"no environment is registered as {env_id!r}{did_you_mean(env_id, gymnasium.registry)}"
        remedy = (
            "correct the id, install its package, or add `--import MODULE` for the module that registers it"
        )
        raise TaskError("env", message, remedy) from error
    except TaskError:
        raise
    except TypeError as error:
        message = f"{env_id} refuses {kwargs} ({error})"
        raise TaskError("env_kwargs", message, "correct the arguments") from error
    except ANY_FAILURE as error:  # third-party code may raise anything
        message = f"{env_id} cannot be created: {one_line(error).rstrip('.') or repr(error)}"
        raise TaskError("env", message, "choose another environment or install what it needs") from error
    try:
        require_spaces(env_id, env, discrete=discrete)
    except TaskError:
        close(env)
        raise
    return env


def require_spaces(name: str, env: gymnasium.Env, *, discrete: bool) -> None:
    """Raise unless observations and actions are flat vectors, the actions with bounds.

    Args:
        name: what the environment is called in messages.
        env: the environment.
        discrete: whether an action may also be one of several choices.

    Raises:
        TaskError: naming the space and what to wrap it with.
    """
    observation, action = (getattr(env, f"{part}_space", None) for part in ("observation", "action"))
    if discrete:
        observation, mask = parts_of(observation)
        problem = mask_problem(mask, action)
        if problem:
            raise TaskError("env", f"{name} {problem}", "give the mask one entry for each of its actions")
    for part, space in (("observation", observation), ("action", action)):
        choice = part == "action" and isinstance(space, gymnasium.spaces.Discrete)
        if choice and discrete:
            continue
        if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
            kind = described(space)
            usable = "a Box with one axis" + (" or a Discrete" if part == "action" and discrete else "")
            message = f"the {part} space of {name} is a {kind}; only {usable} can be used"
            raise TaskError("env", message, _REMEDIES[part] + (_FROM_PYTHON if discrete else ""))
        if part == "action" and not space.is_bounded():
            message = f"the action space of {name} has no bounds"
            raise TaskError("env", message, "give its Box a low and a high")


def step_limit(env: gymnasium.Env) -> int | None:
    """Steps after which ``env`` cuts an episode: those of its ``TimeLimit`` wrapper or of its specification."""
    inner: Any = env
    while isinstance(inner, gymnasium.Wrapper):
        if isinstance(inner, gymnasium.wrappers.TimeLimit):
            return inner._max_episode_steps
        inner = inner.env
    return inner.spec.max_episode_steps if inner.spec else None


def inspect_env(env: gymnasium.Env) -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Box, int | None]:
    """The observation space, the action space and the registered time limit of an environment, which is closed."""
    observation, action = env.observation_space, env.action_space
    limit = gymnasium.spec(env.spec.id).max_episode_steps if env.spec else None
    close(env)
    assert isinstance(observation, gymnasium.spaces.Box)
    assert isinstance(action, gymnasium.spaces.Box)
    return observation, action, limit


def _import_environment(env_id: str) -> None:
    """Import the module that defines an environment; if that needs MuJoCo, MuJoCo is imported with it."""
    *modules, name = env_id.split(":")
    if len(modules) > 1 or name in _NAMES_ANOTHER:
        raise TaskError("env", f"{shown(env_id)} cannot be used", "write the id of one environment")
    if modules:
        importlib.import_module(require_named("env", env_id))
    for spec in list(gymnasium.registry.values()):
        if name in (spec.id, spec.name) and isinstance(spec.entry_point, str):
            importlib.import_module(spec.entry_point.partition(":")[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence two notices that no user can act on, and only those two.

    Gymnasium announces a newer revision of the environment. MuJoCo reports a deprecated attribute in the robot
    model that Gymnasium ships, and would write that into a log file in the working directory.
    """

    def forward(message: str) -> None:
        if "settotalmass" not in message:
            warnings.warn(f"MuJoCo: {message}", stacklevel=2)

    mujoco: Any = sys.modules.get("mujoco")  # Any: its type stubs lack the two functions used here
    before = mujoco.get_mju_user_warning() if mujoco else None
    if mujoco:
        mujoco.set_mju_user_warning(forward)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*The environment .* is out of date", DeprecationWarning)
            yield
    finally:
        if mujoco:
            mujoco.set_mju_user_warning(before)
