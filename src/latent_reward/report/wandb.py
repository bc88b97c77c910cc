"""Metrics in Weights & Biases; the package ``wandb`` is an extra and is imported when a log is opened."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from latent_reward.errors import LareError, one_line
from latent_reward.report.evaluation import Report


class WandbLog:
    """Sends the reports of a run to Weights & Biases, as ``seed<N>/<metric>`` over environment steps.

    The key is found as ``wandb`` finds it (``wandb login``, or the variable WANDB_API_KEY), and is written nowhere.
    """

    def __init__(self, project: str, *, config: Mapping[str, Any] | None = None, **options: Any):
        """Start a run of W&B.

        Args:
            project: the project that it belongs to.
            config: what W&B shows as the configuration.
            options: further arguments of ``wandb.init``, such as ``name``, ``entity`` or ``mode="offline"``.

        Raises:
            LareError: ``wandb`` is not installed, or the run cannot be started.
        """
        try:
            wandb: Any = import_module("wandb")
        except ImportError as error:
            raise LareError(
                f'wandb: it cannot be imported ({one_line(error)}); run `pip install "latent-reward[wandb]"`'
            ) from error
        try:
            self._run = wandb.init(project=project, config=dict(config or {}), **options)
        except Exception as error:  # its own errors have no common type
            raise LareError(
                f"wandb: no run can be started in {project!r} ({one_line(error)}); run `wandb login`, or set "
                "WANDB_MODE=offline"
            ) from error

    def write(self, reports: Sequence[Report]) -> None:
        """Send the numbers of one evaluation."""
        numbers = {
            f"{report.label}/{name}": value for report in reports for name, value in report.numbers().items()
        }
        self._run.log(numbers, step=reports[0].step)

    def close(self) -> None:
        """End the run of W&B."""
        self._run.finish()
