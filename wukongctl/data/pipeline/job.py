"""What a stage needs to prepare a part, and where stages run: here, part by part, or on a Ray cluster.

A stage is a function of a job and a part that leaves its result in the job's work folder. A cluster therefore
needs only that folder, the raw files and this package in the same places on every machine.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wukongctl import extras
from wukongctl.config.dataset import DatasetSpec
from wukongctl.data.options import EngineName
from wukongctl.data.pipeline.parts import Part
from wukongctl.data.pipeline.store import HeldRows, Rows, SpooledRows
from wukongctl.data.progress import Progress, ReportProgress, silent
from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.lines import paths_of
from wukongctl.errors import WukongError

GENERATED = "synthetic"
"""The view of generated rows."""


@dataclass(frozen=True)
class PrepareJob:
    """A recipe, its raw files and parts, and the folder of results."""

    spec: DatasetSpec
    paths: dict[str, Path | tuple[Path, ...]]
    search: Path
    """Folder that relative paths in the SQL start from."""
    work: Path
    """An absolute path."""
    memory_limit: str | None = None
    threads: int | None = None
    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()
    """Remarks of planning."""
    held: dict[int, HeldRows] | None = field(default=None, compare=False, repr=False)
    """By part, the rows that this process holds in memory; None if others go on with them."""

    def engine(self, spill: str) -> Engine:
        """A new DuckDB; `spill` separates the temporary files of concurrent ones."""
        folder = self.work / "spill" / spill
        folder.mkdir(parents=True, exist_ok=True)  # DuckDB would create the last level only
        engine = Engine(
            self.spec.name,
            self.paths,
            spill=folder,
            search=self.search,
            memory_limit=self.memory_limit,
            threads=self.threads,
            allow=(str(self.work), *self.spec.allow_read),
            tries_casts=bool(sql.TRY_CAST.search(f"{self.spec.queries} {self.spec.label}")),
        )
        if GENERATED in self.paths:
            engine.execute(f"CREATE VIEW {GENERATED} AS SELECT * FROM read_parquet('{{{GENERATED}}}')")
        return engine

    def rows(self, part: Part) -> Path:
        """Folder of the rows of a part in compact form."""
        return self.work / "rows" / part.name

    def stored(self, part: Part) -> Rows:
        """The rows of a part that is read and not yet encoded."""
        return (self.held or {}).get(part.index) or SpooledRows(self.rows(part))

    def counts(self, part: Part) -> Path:
        """Folder of the counts of a part."""
        return self.work / "counts" / part.name

    def encoded(self, part: Part) -> Path:
        """Folder of the encoded rows of a part."""
        return self.work / "encoded" / part.name

    def bytes(self, part: Part) -> int:
        """Size of the raw files that a part reads."""
        names = set(sql.PLACEHOLDER.findall(part.query)) & set(self.paths)
        return sum(path.stat().st_size for name in names for path in paths_of(self.paths[name]))

    def path(self, name: str) -> Path:
        """The raw file `name`, which is not a pattern."""
        (path,) = paths_of(self.paths[name])
        return path


Stage = Callable[[PrepareJob, Part, ReportProgress], None]
StageExecutor = Callable[[str, Stage, PrepareJob, Iterable[Part], ReportProgress], None]
"""Runs the stage of that name on each part; raises what the first failing part raised."""


def executor(name: EngineName) -> StageExecutor:
    """The executor of that name; UsageError for Ray if it is not installed."""
    if name == "local":
        return _run_locally
    extras.require("`--engine ray`", "ray", "ray")
    import ray  # pyrefly: ignore[missing-import] (an extra)

    return _RayExecutor(ray)


def _run_locally(
    _name: str, stage: Stage, job: PrepareJob, parts: Iterable[Part], report: ReportProgress
) -> None:
    """One part after the other, each on all threads."""
    parts = list(parts)
    for number, part in enumerate(parts, start=1):
        suffix = f" (part {number} of {len(parts)})" if len(parts) > 1 else ""

        def report_part(progress: Progress, suffix: str = suffix) -> None:
            report(progress._replace(stage=progress.stage + suffix))

        stage(job, part, report_part)


class _RayExecutor:
    """Each part is a task that reserves as many CPUs as the job may use threads."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        if not ray.is_initialized():
            ray.init(log_to_driver=False, include_dashboard=False, logging_level="ERROR")

    def __call__(
        self, name: str, stage: Stage, job: PrepareJob, parts: Iterable[Part], report: ReportProgress
    ) -> None:
        task = self._ray.remote(num_cpus=job.threads or 1, max_retries=2)(_run_part)
        shared = self._ray.put((stage, job))
        pending = [task.remote(shared, part) for part in parts]
        total = len(pending)
        report(Progress(name, 0, total))
        while pending:
            done, pending = self._ray.wait(pending)
            for error in self._ray.get(done):
                if error is not None:
                    for other in pending:
                        self._ray.cancel(other)
                    raise error
            report(Progress(name, total - len(pending), total))


def _run_part(shared: tuple[Stage, PrepareJob], part: Part) -> WukongError | None:
    """Runs in a worker. Returns the error, as Ray would wrap one that is raised."""
    stage, job = shared
    try:
        stage(job, part, silent)
    except WukongError as error:
        return error
    return None
