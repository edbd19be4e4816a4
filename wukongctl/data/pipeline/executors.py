"""Where the stages of the parts run: here, one after the other, or on a Ray cluster, all at once.

A stage is a function of a job and a part that leaves its result in the job's work folder, so a cluster needs
no more than that folder, the raw files and this package in the same places on every machine.
"""

from collections.abc import Callable, Iterable
from typing import Any

from wukongctl.data.options import EngineName
from wukongctl.data.pipeline.job import PrepareJob
from wukongctl.data.pipeline.parts import Part
from wukongctl.data.progress import Progress, Report, silent
from wukongctl.errors import UsageError, WukongError

Stage = Callable[[PrepareJob, Part, Report], None]
StageExecutor = Callable[[str, Stage, PrepareJob, Iterable[Part], Report], None]
"""Runs the stage of that name on each part; raises what the first failing part raised."""


def executor(name: EngineName) -> StageExecutor:
    """The executor of that name; UsageError if Ray is asked for and not installed."""
    if name == "local":
        return locally
    try:
        import ray  # pyrefly: ignore[missing-import] (an extra)
    except ImportError:
        raise UsageError(
            "`--engine ray` needs Ray", hint="install it with `pip install 'wukongctl[ray]'`"
        ) from None
    return _OnRay(ray)


def locally(_name: str, stage: Stage, job: PrepareJob, parts: Iterable[Part], report: Report) -> None:
    """One part after the other, each on all threads."""
    todo = list(parts)
    for number, part in enumerate(todo, start=1):

        def tell(progress: Progress, number: int = number) -> None:
            of = f" (part {number} of {len(todo)})" if len(todo) > 1 else ""
            report(progress._replace(stage=progress.stage + of))

        stage(job, part, tell)


class _OnRay:
    """Each part a task that reserves as many CPUs as the job may use threads."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        if not ray.is_initialized():
            ray.init(log_to_driver=False, include_dashboard=False, logging_level="ERROR")

    def __call__(
        self, name: str, stage: Stage, job: PrepareJob, parts: Iterable[Part], report: Report
    ) -> None:
        task = self._ray.remote(num_cpus=job.threads or 1, max_retries=2)(_run)
        whole = self._ray.put((stage, job))
        waiting = [task.remote(whole, part) for part in parts]
        total = len(waiting)
        report(Progress(name, 0, total))
        while waiting:
            done, waiting = self._ray.wait(waiting)
            for problem in self._ray.get(done):
                if problem is not None:
                    for other in waiting:
                        self._ray.cancel(other)
                    raise problem
            report(Progress(name, total - len(waiting), total))


def _run(whole: tuple[Stage, PrepareJob], part: Part) -> WukongError | None:
    """Runs in a worker, whose failures must come back as they are: Ray would wrap them."""
    stage, job = whole
    try:
        stage(job, part, silent)
    except WukongError as error:
        return error
    return None
