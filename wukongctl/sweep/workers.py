"""Short training runs in a few worker processes, each of which imports torch once.

`executors` starts a process per run instead: it takes seconds, and a crash ends one run.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from wukongctl.config.training import TrainingSpec
from wukongctl.errors import Interrupted, RunFailed


def train_all(
    recipes: Sequence[TrainingSpec],
    *,
    data: Path,
    out: Path,
    force: bool,
    workers: int,
    report: Callable[[int], None],
) -> list[Path]:
    """Train `recipes` on datasets below `data`, `workers` at a time; their run folders, in order.

    `report` is told after each run how many have ended. On a signal the workers save checkpoints and stop.
    Complete runs are kept, unless `force` starts them over. Raises what a run raises, and RunFailed if a
    worker is killed.
    """
    try:
        with _pool(workers) as pool:
            runs = [pool.submit(_train, recipe, data, out, force) for recipe in recipes]
            for ended, run in enumerate(as_completed(runs), start=1):
                run.result()
                report(ended)
    except BrokenProcessPool as error:
        raise RunFailed(
            "a training process was killed, perhaps because memory ran out",
            hint="the same command resumes; complete runs are kept",
        ) from error
    return [run.result() for run in runs]


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose workers are told to stop on any error, and waited for."""
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of DuckDB and Arrow
    pool = ProcessPoolExecutor(workers, context, initializer=_leave_ctrl_c_to_the_parent)
    try:
        yield pool
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.terminate()  # SIGTERM: a run in progress saves a checkpoint
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _train(recipe: TrainingSpec, data: Path, out: Path, force: bool) -> Path:
    from wukongctl.training.train import train

    try:
        return train(recipe, data=data, out=out, force=force, report=lambda _: None).folder
    except Interrupted as interrupted:
        os._exit(interrupted.exit_code)  # a worker that returns would start the next run
