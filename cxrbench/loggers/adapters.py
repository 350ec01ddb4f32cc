"""The loggers that come with cxrbench. Each works offline, and imports its ``package`` when it begins."""

import os
from collections.abc import Mapping
from typing import Any

PROJECT = "cxrbench"


class WandbLogger:
    """Weights & Biases, project ``cxrbench`` unless WANDB_PROJECT says otherwise.

    ``WANDB_MODE=offline`` keeps all of it in ``./wandb``; ``wandb sync`` sends it later.
    """

    package = "wandb"

    def begin(self, name: str, settings: Mapping[str, Any]) -> None:
        """Start a run of wandb's."""
        import wandb  # pyright: ignore[reportMissingImports]

        project = os.environ.get("WANDB_PROJECT", PROJECT)
        self.run = wandb.init(project=project, name=name, config=dict(settings))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """A step of its history."""
        self.run.log(dict(values), step=step)

    def end(self) -> None:
        """Finish it."""
        self.run.finish()


class MlflowLogger:
    """MLflow, experiment ``cxrbench`` unless MLFLOW_EXPERIMENT_NAME says otherwise; MLFLOW_TRACKING_URI says where."""

    package = "mlflow"

    def begin(self, name: str, settings: Mapping[str, Any]) -> None:
        """Start a run of MLflow's."""
        import mlflow  # pyright: ignore[reportMissingImports]

        self.mlflow: Any = mlflow
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
        mlflow.start_run(run_name=name)
        mlflow.log_params({key: str(value)[:500] for key, value in settings.items()})

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Metrics at a step, under names that MLflow takes."""
        named = {"".join(c if c.isalnum() or c in "_-. /" else "_" for c in name): v for name, v in values.items()}
        self.mlflow.log_metrics(named, step=step)

    def end(self) -> None:
        """Finish it."""
        self.mlflow.end_run()


class TrackioLogger:
    """Trackio, project ``cxrbench``, on this machine; ``trackio show`` draws it."""

    package = "trackio"

    def begin(self, name: str, settings: Mapping[str, Any]) -> None:
        """Start a run of Trackio's."""
        import trackio  # pyright: ignore[reportMissingImports]

        self.trackio: Any = trackio
        trackio.init(project=PROJECT, name=name, config={key: str(value) for key, value in settings.items()})

    def log(self, values: Mapping[str, float], step: int) -> None:
        """A step of its history."""
        self.trackio.log(dict(values), step=step)

    def end(self) -> None:
        """Finish it."""
        self.trackio.finish()
