"""Progress of a run: all that a resumed run needs besides tensors."""

from dataclasses import dataclass, field
from typing import Any

from wukongctl.training import schedules


@dataclass
class TrainingPosition:
    """The state of a run besides tensors, saved in checkpoints."""

    step: int = 0
    examples: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    """Time of reading and updating, without evaluations, checkpoints and logging."""
    cpu_seconds: float = 0.0
    """CPU time of reading and updating."""
    loss_sum: float = 0.0
    loss_steps: int = 0
    exploded_steps: int = 0
    """Steps in the latest consecutive logging intervals whose mean loss exceeds `divergence.max_loss`."""
    metrics_bytes: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    watch: schedules.Watch = field(default_factory=schedules.Watch)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "TrainingPosition":
        """The inverse of `dataclasses.asdict`."""
        position = cls(**{key: value for key, value in state.items() if key != "watch"})
        position.watch = schedules.Watch(**state["watch"])
        return position
