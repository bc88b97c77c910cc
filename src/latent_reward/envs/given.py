"""Environments that are given from Python: an object that is copied, or a function that makes one."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import gymnasium

from latent_reward.envs.base import close
from latent_reward.envs.pettingzoo import Make
from latent_reward.errors import ANY_FAILURE, LareError, one_line
from latent_reward.files import as_file_name


def maker_of(given: Any) -> Make:
    """What makes copies of an environment that is given as an object or as a function (or class) without arguments.

    An object is never stepped: each seed and each evaluation episode gets its own ``copy.deepcopy`` of it. A function
    is called once for each, with ``render_mode`` where it takes that argument and pictures are wanted.

    Raises:
        LareError: it is neither, or what it makes is no environment, or the same one every time.
    """
    if is_environment(given):
        return _copies(given)
    if not callable(given):
        raise LareError(
            f"task: {given!r} cannot be trained in; give a task, a Gymnasium id, an environment of Gymnasium or "
            "PettingZoo, or a function that makes one"
        )
    make = _calls(given)
    first, second = make(None), make(None)
    same = getattr(first, "unwrapped", first) is getattr(second, "unwrapped", second)
    close(first)
    if same:
        raise LareError(
            f"env: {_name(given)} gives the same environment every time; make a new one in each call, or give the "
            "environment itself"
        )
    close(second)
    return make


def is_environment(thing: Any) -> bool:
    """Whether ``thing`` is an environment of Gymnasium, or looks like one of PettingZoo."""
    return isinstance(thing, gymnasium.Env) or (not isinstance(thing, type) and is_parallel(thing))


def is_parallel(env: Any) -> bool:
    """Whether ``env`` has agents as PettingZoo's environments have; only parallel ones can be trained in."""
    return hasattr(env, "possible_agents") or hasattr(env, "agent_iter")


def name_of(env: Any) -> str:
    """A name for an environment, with characters allowed in a file name: its id, or the name of its class."""
    spec = getattr(env, "spec", None)
    named = spec.id if spec else (getattr(env, "metadata", None) or {}).get("name")
    return as_file_name(str(named or type(getattr(env, "unwrapped", env)).__name__))


def _copies(env: Any) -> Make:
    def make(mode: str | None) -> Any:
        _require_mode(env, mode)
        try:
            return copy.deepcopy(env)
        except ANY_FAILURE as error:  # a stranger's code may fail in any way
            raise LareError(
                f"env: this {name_of(env)} cannot be copied ({one_line(error)}), and each seed and evaluation episode "
                "needs its own; give a function that makes it"
            ) from error

    return make


def _calls(function: Callable[..., Any]) -> Make:
    def make(mode: str | None) -> Any:
        draws = mode is not None and _takes_mode(function)
        try:
            env = function(render_mode=mode) if draws else function()
        except LareError:
            raise
        except ANY_FAILURE as error:  # a stranger's code may fail in any way
            raise LareError(
                f"env: {_name(function)} fails with {type(error).__name__} ({one_line(error)}); give a function that "
                "makes an environment without arguments"
            ) from error
        if not is_environment(env):
            raise LareError(
                f"env: {_name(function)} returns {type(env).__name__}, which is no environment; return one of "
                "Gymnasium, or a parallel one of PettingZoo"
            )
        _require_mode(env, mode)
        return env

    return make


def _takes_mode(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(each.name == "render_mode" or each.kind is each.VAR_KEYWORD for each in parameters)


def _require_mode(env: Any, mode: str | None) -> None:
    if mode is not None and getattr(env, "render_mode", None) not in (mode, f"{mode}_list"):
        raise LareError(
            f"video: this {name_of(env)} draws no pictures; make it with render_mode={mode!r}, or give a function that "
            "takes render_mode"
        )


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
