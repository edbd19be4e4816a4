"""Schedules: a factor on the learning rates, a pure function of the step except for `plateau`."""

import math
from dataclasses import dataclass

from wukongctl.config.training import EarlyStopping, ScheduleSpec
from wukongctl.training.metrics import METRICS


def factor(spec: ScheduleSpec, step: int, total_steps: int, plateau: float = 1.0) -> float:
    """Factor for the update numbered `step`, counted from 0."""
    warmup_steps = math.ceil(spec.warmup * total_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    match spec.decay:
        case "none":
            value = 1.0
        case "linear":
            value = 1.0 - progress
        case "cosine":
            value = 0.5 * (1.0 + math.cos(math.pi * progress))
        case "plateau":
            value = plateau
    return max(value, spec.min_factor)


@dataclass
class Watch:
    """Tracks one validation metric: the best value, and how long it has not improved."""

    best: float | None = None
    best_step: int = 0
    stale: int = 0
    plateau: float = 1.0

    def update(self, value: float, step: int, stopping: EarlyStopping, schedule: ScheduleSpec) -> bool:
        """Record an evaluation; True if it is the best so far."""
        metric = METRICS[stopping.metric]
        if self.best is None or metric.gain(self.best, value) > stopping.min_delta:
            self.best, self.best_step, self.stale = value, step, 0
            return True
        self.stale += 1
        self.plateau = max(self.plateau * schedule.factor, schedule.min_factor)
        return False

    def exhausted(self, stopping: EarlyStopping) -> bool:
        """Whether patience has run out."""
        return stopping.patience is not None and self.stale >= stopping.patience
