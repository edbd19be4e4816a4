"""A run in TensorBoard: curves, hyperparameters and results in the run folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wukongctl.training.run_folder import TENSORBOARD
from wukongctl.training.run_record import RunInfo, RunResult
from wukongctl.training.tracked import Record, costs, parameters, points, results, tags


class TensorBoardTracker:
    """Writes events; opened at the first line, whose step says which earlier events are repeated."""

    def __init__(self, info: RunInfo, folder: Path) -> None:
        from torch.utils import tensorboard

        self.tensorboard: Any = tensorboard
        self.info, self.path = info, folder / TENSORBOARD
        self._opened: Any = None

    def _writer(self, step: int) -> Any:
        if self._opened is None:
            self._opened = self.tensorboard.SummaryWriter(str(self.path), purge_step=step)
            facts = "\n".join(f"| {key} | {value} |" for key, value in tags(self.info).items())
            self._opened.add_text("run", f"| | |\n|---|---|\n{facts}", step)
        return self._opened

    def write(self, records: Sequence[Record]) -> None:
        """Log lines of metrics.jsonl."""
        for record in records:
            writer = self._writer(record["step"])
            for name, value in points(record).items():
                writer.add_scalar(name, value, record["step"])
            writer.flush()

    def end(self, ending: str, result: RunResult | None, reason: str | None) -> None:
        """Log hyperparameters with the results, at the best step."""
        step = 0 if result is None else result.best_step or result.step
        writer = self._writer(step)
        values = costs(self.info) | ({} if result is None else results(result))
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        if ending == "complete":
            self._add_hyperparameters(writer, values)
        if reason:
            writer.add_text("reason", reason, step)
        writer.close()

    def _add_hyperparameters(self, writer: Any, values: dict[str, float]) -> None:
        """Into this folder; `add_hparams` would make another run of them."""
        from torch.utils.tensorboard.summary import hparams

        for summary in hparams(dict(parameters(self.info)), values):
            writer.file_writer.add_summary(summary)
