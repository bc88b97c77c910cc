"""The commands ``train`` and ``evaluate``."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, Unpack

from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg

from latent_reward.cli.common import (
    AsJson,
    Imports,
    JunkCount,
    LatentNames,
    import_named,
    print_credit,
    print_json,
    print_weights,
    screen,
    selection_of,
)
from latent_reward.cli.settings import combine, parse_seeds, read_assignments, read_config
from latent_reward.errors import LareError

if TYPE_CHECKING:
    from latent_reward.report.log import Logger


class Settings(TypedDict, total=False):
    """Settings of training; what is left out has the default of the kind of agent."""

    steps: int
    """not for ppo: environment steps per seed (100,000)."""
    iterations: int
    """for ppo: iterations per seed (500; of teams 1,000)."""
    warmup: int
    """not for ppo: steps with random actions before learning starts (10,000)."""
    episodes: int
    """for ppo: episodes per iteration (about 2,048 steps; of teams 82)."""
    share: float
    """for teams: share of each agent's reward that is replaced by the team's mean (0)."""
    counterfactual: str
    """for teams: idle also pays an agent for what it does to the others (none)."""
    evaluate_every: int
    """steps (5,000) or iterations (10) between evaluations."""
    evaluation_episodes: int
    """episodes per evaluation (10; of teams 50), the same ones every time."""
    checkpoint_every: int
    """steps (25,000) or iterations (100) between checkpoints."""
    batch_size: int
    """not for ppo: transitions per update (256)."""
    buffer_size: int
    """not for ppo: transitions kept for replay (1,000,000)."""


def _argument(metavar: str, default: str = "", *aliases: str) -> Any:
    """An argument that is None where nothing is given, so that other sources of its value can be asked."""
    return arg(
        metavar=metavar, aliases=aliases, help_behavior_hint=f"(default: {default})" if default else ""
    )


def train(
    task: Positional[Annotated[str | None, _argument("TASK", "HalfCheetah-v5")]] = None,
    *,
    method: Annotated[str | None, _argument("METHOD", "lare")] = None,
    agent: Annotated[
        str | None, _argument("td3|sac|ddpg|ppo", "td3; ppo for teams and discrete actions")
    ] = None,
    seeds: Annotated[str | None, _argument("N|A..B|A,B,…", "0", "--seed")] = None,
    encoder: Annotated[Path | None, _argument("DIR", "the bundled one of DRAW")] = None,
    draw: Annotated[int | None, _argument("N", "0")] = None,
    out: Annotated[
        Path | None, _argument("DIR", "runs/TASK/METHOD/SEEDS, with another agent METHOD-AGENT")
    ] = None,
    max_steps: Annotated[int | None, _argument("N", "that of the task or environment")] = None,
    latents: LatentNames = None,
    without: LatentNames = None,
    junk: JunkCount = None,
    config: Annotated[Path | None, _argument("FILE")] = None,
    assignments: Annotated[UseAppendAction[tuple[str, ...]], arg(name="set", metavar="NAME=VALUE")] = (),
    resume: Annotated[Path | None, _argument("RUN")] = None,
    drop_unfinished: FlagCreatePairsOff[bool] = False,
    imports: Imports = (),
    wandb: Annotated[str | None, _argument("PROJECT")] = None,
    dry_run: FlagCreatePairsOff[bool] = False,
    json: AsJson = False,
    quiet: bool = False,
    **settings: Unpack[Settings],
) -> None:
    """Train an agent, or teams of agents, from the return of each episode, with credit assigned by METHOD.

    Without arguments: HalfCheetah-v5 for 100,000 steps with the bundled latent-reward encoder. TD3, SAC and DDPG train
    one agent with continuous actions step by step; PPO trains any agents in iterations of whole episodes. A setting of
    the other kind is refused. Ctrl-C saves before it stops, and so does an environment that fails; the same command or
    `lare train --resume RUN` continues with the same numbers. `lare train --resume RUN --steps N` (of PPO
    `--iterations N`) extends a run to the new total N.

    Args:
        task: a built-in task (`lare tasks`), the path of a task file, or the id of an environment of Gymnasium or
            PettingZoo, for methods that need no encoder.
        method: how credit is assigned (`lare methods`).
        agent: the learner; --set agent.NAME=VALUE changes its hyper-parameters.
        seeds: one seed, or several that train side by side in one program: 0..4 or 0,2,5.
        encoder: folder of an encoder (several teams: with one under each name).
        draw: which bundled encoder (an axis of its own: not the seed).
        out: the run folder.
        max_steps: steps after which an episode is cut.
        latents: names of the latents that are used, the others being left out.
        without: names of latents that are left out.
        junk: add so many latents that say nothing.
        config: a YAML or JSON file of settings, or the config.json of a run to be repeated; --set goes before it, and
            every other option before both.
        assignments: one setting of the agent, the method, the plan or the feedback, such as agent.learning_rate=1e-3,
            method.hidden=[64,64] or feedback.every=50; may be given several times.
        resume: go on with this run; every setting but a larger number of steps or iterations comes from it.
        drop_unfinished: where a run goes on, begin its unfinished episodes again and do not repeat their steps, for an
            environment that does not repeat itself.
        imports: a module that a task file or a run may import, also one of this folder; may be given several times.
        wandb: also log to this project of Weights & Biases.
        dry_run: check everything, print the whole configuration, and neither train nor write.
        json: print the result as JSON, and nothing else.
        quiet: print nothing.
    """
    from latent_reward.report.evaluation import last_rows
    from latent_reward.training import train as trainer

    import_named(imports)
    if resume is not None:
        options = {
            "method": method,
            "agent": agent,
            "seeds": seeds,
            "encoder": encoder,
            "draw": draw,
            "out": out,
        }
        options |= {"max_steps": max_steps, "config": config, "set": assignments or None}
        options |= {"latents": latents, "without": without, "junk": junk}
        steps, iterations = settings.pop("steps", None), settings.pop("iterations", None)
        options |= {"task": task, "dry_run": dry_run or None, **settings}
        _refuse_beside_resume([name for name, value in options.items() if value is not None])
        logger = _wandb(wandb, str(resume), {})
        run = trainer.resume(
            resume,
            steps=steps,
            iterations=iterations,
            drop_unfinished=drop_unfinished,
            quiet=quiet or json,
            loggers=logger,
        )
    else:
        chosen: dict[str, Any] = {"task": task, "draw": draw, "out": out, "max_steps": max_steps, **settings}
        chosen |= {"encoder": encoder, "seed": None if seeds is None else parse_seeds(seeds)}
        chosen |= {"method": None if method is None else {"name": method}}
        chosen |= {"agent": None if agent is None else {"kind": agent}}
        chosen |= {"latents": selection_of(latents, without, junk) or None}
        given = read_config(config) if config else {}
        wanted = combine(
            {"task": "HalfCheetah-v5"},
            given,
            read_assignments(assignments),
            {name: value for name, value in chosen.items() if value is not None},
        )
        if wanted["task"] == given.get("task") and task is None:
            _require_named(given["task"])
        if dry_run:
            _show_plan(wanted, json)
            return
        logger = ()
        if wandb:
            prepared = trainer.prepare(**wanted)
            logger = _wandb(wandb, str(prepared.folder), asdict(prepared.config))
        run = trainer.train(**wanted, drop_unfinished=drop_unfinished, quiet=quiet or json, loggers=logger)
    if json:
        print_json({"folder": str(run.folder), "metrics": list(last_rows(run.metrics).values())})
    elif not quiet:
        for (seed_done, team), row in last_rows(run.metrics).items():
            screen.print(f"seed {seed_done} {team}".rstrip() + ":")
            print_credit(row)
        written = [name for name in ("learning_curve.png", "metrics.jsonl") if (run.folder / name).exists()]
        screen.print(f"done: {run.folder} ({', '.join(written)}, tensorboard/)")


def _require_named(task: str) -> None:
    """Raise if a file of settings names an environment in a module that was not named in this command."""
    from latent_reward.envs.named import require_named
    from latent_reward.task.draft import is_pettingzoo

    if not Path(task).is_file() and (":" in task or is_pettingzoo(task)):
        require_named("task", task)


def _refuse_beside_resume(given: list[str]) -> None:
    """Raise if another setting than the length is given beside ``--resume``: a run keeps its configuration."""
    if given:
        flags = ", ".join("TASK" if name == "task" else f"--{name.replace('_', '-')}" for name in given)
        raise LareError(
            f"{given[0]}: a resumed run keeps its configuration; leave {flags} out, or start a new run without --resume"
        )


def _wandb(project: str | None, name: str, config: Mapping[str, Any]) -> "tuple[Logger, ...]":
    if project is None:
        return ()
    from latent_reward.report.wandb import WandbLog

    return (WandbLog(project, name=name, config=config),)


def _show_plan(wanted: Mapping[str, Any], as_json: bool) -> None:
    """Print the configuration that a training would have, in a form that ``--config`` reads."""
    import json

    from latent_reward.reading import to_yaml
    from latent_reward.training.prepare import prepare

    prepared = prepare(**wanted)
    prepared.begin().close()
    resolved = {"task": wanted["task"], "max_steps": prepared.task.max_steps}
    config = json.loads(prepared.config.to_json()) | resolved
    if as_json:
        print_json({"folder": str(prepared.folder), "config": config})
        return
    screen.print(f"# nothing is wrong; this would be trained into {prepared.folder}")
    screen.print(to_yaml(config).strip())


def evaluate(
    run: Positional[Annotated[Path, arg(metavar="RUN")]],
    *,
    episodes: int = 10,
    video: bool = False,
    imports: Imports = (),
    json: AsJson = False,
) -> None:
    """Play episodes with a trained policy; print their true returns and what each latent turned out to be worth.

    Args:
        run: the folder of a run.
        episodes: episodes per seed, the same ones every time.
        video: also write one episode per seed as an MP4 file into the run folder.
        imports: a module that the run may import, also one of this folder; may be given several times.
        json: print the result as JSON, and nothing else.
    """
    from latent_reward.report.evaluation import last_rows
    from latent_reward.training.run import load_run

    import_named(imports)
    trained = load_run(run)
    measured = last_rows(trained.metrics)
    if trained.config.ablations and not json:
        screen.print(f"trained with {trained.config.ablations}")
    returns = trained.evaluate(episodes)
    several, rows = len(returns) > 1, []
    for index, seed in enumerate(trained.config.seeds):
        for team, found in returns.items():
            each, weights = found[index], trained.latent_weights(seed=seed, team=team)
            row = measured.get((seed, team if several else ""))
            rows.append(
                {
                    "seed": seed,
                    "team": team if several else "",
                    "mean": float(each.mean()),
                    "std": float(each.std()),
                    "returns": each.tolist(),
                    "latent_weights": weights,
                    "metrics": row,
                    "video": None,
                }
            )
            if not json:
                screen.print(
                    f"{f'seed {seed} {team}' if several else f'seed {seed}'}: return {each.mean():,.2f} ± "
                    f"{each.std():,.2f} over {episodes} episodes ({each.min():,.2f} to {each.max():,.2f})"
                )
                if row:
                    print_credit(row)
                print_weights(weights)
        if video:
            path = trained.film(run / f"seed{seed}.mp4", seed=seed)
            for each in rows[-len(returns) :]:
                each["video"] = str(path)
            if not json:
                screen.print(f"seed {seed}: {path}")
    if json:
        print_json(rows)
