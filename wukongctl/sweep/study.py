"""The Optuna study behind `tune`: one per recipe, in a journal next to the runs.

Every trial gets a new sampler, seeded by the seed of the search and the number of the trial, so that a
resumed search proposes the same settings as an uninterrupted one.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from wukongctl.config.dimensions import Space, SpacePoint
from wukongctl.config.sweep import Setting
from wukongctl.config.training import WatchedMetric
from wukongctl.training.metrics import METRICS

RANDOM_TRIALS = 10
"""Trials drawn at random before the sampler uses a model."""
FULL_TRIALS = 5
"""Complete trials before any trial is pruned."""
FIRST_PRUNED_AT = 2
"""The first evaluation after which a trial may be pruned; a single one is too noisy."""

State: TypeAlias = Literal["open", "complete", "pruned", "diverged"]


@dataclass(frozen=True)
class TrialRecord:
    """One trial of the study; `value` is its validation metric, None unless complete."""

    number: int
    setting: Setting
    state: State
    value: float | None


class _FolderIsLocked(JournalFileOpenLock):
    """No lock: the sweep holds one already, and a lock file would outlive a killed process."""

    def acquire(self) -> bool:
        """Do nothing."""
        return True

    def release(self) -> None:
        """Do nothing."""


class _OptunaDraw:
    """A `Draw` backed by an Optuna trial."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial

    def real(self, name: str, low: float, high: float, *, log: bool) -> float:
        return self.trial.suggest_float(name, low, high, log=log)

    def whole(self, name: str, low: int, high: int) -> int:
        return self.trial.suggest_int(name, low, high)

    def one_of(self, name: str, count: int) -> int:
        return self.trial.suggest_categorical(name, list(range(count)))


def open_storage(path: Path) -> BaseStorage:
    """Open the journal at `path`; an incomplete last line, left by a killed process, is removed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if path.is_file():
        complete, _, rest = path.read_bytes().rpartition(b"\n")
        if rest:
            path.write_bytes(complete + b"\n" * bool(complete))
    return JournalStorage(JournalFileBackend(str(path), lock_obj=_FolderIsLocked(str(path))))


class Study:
    """The trials of one recipe: what to try next, which to prune, and their results.

    The first trial is `own`, the recipe's own setting, recorded at the nearest point of the space.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        space: Space,
        own: Setting,
        *,
        seed: int,
        metric: WatchedMetric,
    ) -> None:
        self.storage, self.space, self.own = storage, space, own
        self.seed, self.metric = seed, metric
        self.study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize" if METRICS[metric].higher_is_better else "minimize",
            pruner=optuna.pruners.MedianPruner(FULL_TRIALS, FIRST_PRUNED_AT),
            load_if_exists=True,
        )
        for trial in self.study.get_trials(states=(TrialState.RUNNING,)):
            if "setting" not in trial.user_attrs:  # killed before its setting was recorded
                self.study.tell(trial.number, state=TrialState.FAIL)

    def records(self) -> list[TrialRecord]:
        """All trials in order, without rejected settings."""
        trials = self.study.get_trials(deepcopy=False)
        return [_record(trial) for trial in trials if "setting" in trial.user_attrs and not _rejected(trial)]

    def ask(self) -> tuple[int, Setting]:
        """The number and the setting of the next trial."""
        trials = self.study.get_trials(deepcopy=False)
        asked = sum("setting" in trial.user_attrs for trial in trials)
        self.study.sampler = self._sampler(asked)
        if asked == 0 and not any(trial.state == TrialState.WAITING for trial in trials):
            self.study.enqueue_trial(self._own_point())
        trial = self.study.ask()
        draw = _OptunaDraw(trial)
        drawn = {key: dimension.draw(key, draw) for key, dimension in self.space.items()}
        setting = drawn if asked else self.own
        trial.set_user_attr("setting", setting)
        return trial.number, setting

    def report(self, number: int, values: Sequence[float]) -> bool:
        """Record the validation metric of each evaluation so far; True when the trial should be pruned.

        Evaluations are judged one by one, so that the result does not depend on how often this is called.
        """
        trial_id = self._trial_id(number)
        known = self.storage.get_trial(trial_id).intermediate_values
        for step, value in enumerate(values, start=1):
            if step not in known:
                self.storage.set_trial_intermediate_value(trial_id, step, value)
            # The last known value is judged again: the process may have been killed before acting on it.
            if (step not in known or step == max(known)) and self._should_prune(trial_id):
                return True
        return False

    def _should_prune(self, trial_id: int) -> bool:
        return self.study.pruner.prune(self.study, self.storage.get_trial(trial_id))

    def tell(
        self, number: int, state: Literal["complete", "pruned", "diverged"], value: float | None
    ) -> None:
        """Record how a trial ended; to the sampler, a diverged trial is a pruned one."""
        if state == "complete":
            self.study.tell(number, value)
            return
        if state == "diverged":
            self._mark(number, "diverged")
        self.study.tell(number, state=TrialState.PRUNED)

    def reject(self, number: int) -> None:
        """Discard a setting that cannot be trained."""
        self._mark(number, "rejected")
        self.study.tell(number, state=TrialState.FAIL)

    def _trial_id(self, number: int) -> int:
        study_id = self.storage.get_study_id_from_name(self.study.study_name)
        return self.storage.get_trial_id_from_study_id_trial_number(study_id, number)

    def _mark(self, number: int, what: str) -> None:
        self.storage.set_trial_user_attr(self._trial_id(number), what, True)

    def _sampler(self, asked: int) -> optuna.samplers.TPESampler:
        seed = int(np.random.SeedSequence([self.seed, asked]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                n_startup_trials=RANDOM_TRIALS, multivariate=True, constant_liar=True, seed=seed
            )

    def _own_point(self) -> SpacePoint:
        point: SpacePoint = {}
        for key, dimension in self.space.items():
            point |= dimension.nearest(key, self.own[key])
        return point


def _rejected(trial: FrozenTrial) -> bool:
    return "rejected" in trial.user_attrs


def _record(trial: FrozenTrial) -> TrialRecord:
    state: State = "open"
    if trial.state == TrialState.COMPLETE:
        state = "complete"
    elif trial.state == TrialState.PRUNED:
        state = "diverged" if "diverged" in trial.user_attrs else "pruned"
    value = trial.value if state == "complete" else None
    return TrialRecord(trial.number, trial.user_attrs["setting"], state, value)
