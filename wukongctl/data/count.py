"""First stage: how often each value occurs in the train rows of a part, and moments of its numbers.

Leaves `counts/<part>/f<feature>.parquet` (value, count; in no order) and `moments.json`.
"""

import contextlib
import math
from pathlib import Path

from wukongctl.config.dataset import Categorical, Numeric, Sequence
from wukongctl.config.spec import Spec
from wukongctl.data import sql
from wukongctl.data.engine import Engine, OutOfMemory
from wukongctl.data.job import Job
from wukongctl.data.parts import Part
from wukongctl.data.progress import Progress, Report, bytes_read, silent
from wukongctl.data.stages import save, stage
from wukongctl.data.writer import InfiniteValue

MOMENTS = "moments.json"
STAGE = "counting values"


class Moments(Spec):
    """Per feature to standardize: how many numbers, their mean and their variance."""

    features: dict[int, tuple[int, float, float]]


def count(job: Job, part: Part, report: Report = silent) -> None:
    """Count the values of `part`, unless that is done."""
    if job.counts(part).is_dir():
        return
    with stage(job.counts(part)) as folder:
        try:
            with job.engine(part.name) as engine:
                _Counting(job, part, folder, engine, report).together()
        except OutOfMemory:
            report(Progress(f"{STAGE}, one by one for want of memory"))
            with job.engine(part.name) as engine:
                _Counting(job, part, folder, engine, report).one_by_one()


def file_name(feature: int) -> str:
    """The counts of one feature in the folder of a part."""
    return f"f{feature}.parquet"


class _Counting:
    def __init__(self, job: Job, part: Part, folder: Path, engine: Engine, report: Report) -> None:
        self.spec, self.folder, self.engine, self.report = job.spec, folder, engine, report
        self.rows = part.route.train_only(sql.accepted(job.spec, part.select(job.spec)))
        self.staged = job.work / "spill" / f"rows-{part.name}.duckdb"
        self.size = job.bytes(part)
        self.passes = self.passed = 0

    def together(self) -> None:
        """Categorical features in one pass over the raw rows, or few; then each sequence in one."""
        categorical, sequences = self._of(Categorical), self._of(Sequence)
        groups = [
            categorical[start : start + sql.MAX_GROUPING_COLUMNS]
            for start in range(0, len(categorical), sql.MAX_GROUPING_COLUMNS)
        ]
        self.passes = len(groups) + len(sequences) + bool(self._standardized())
        for group in groups:
            self._run(f"CREATE TABLE counts AS {sql.count_values(self.rows, group)}")
            for position, feature in enumerate(group):
                mask = sql.grouping_mask(position, len(group))
                self._write(feature, f"SELECT value, count FROM counts WHERE mask = {mask}")
            self.engine.execute("DROP TABLE counts")
        for feature in sequences:
            self._run(self._copy(feature, sql.count_items(self.rows, feature)))
        self._moments(self.rows)

    def one_by_one(self) -> None:
        """The rows once into a database on disk, from which each feature is counted alone."""
        features = [*self._of(Categorical), *self._of(Sequence)]
        self.passes = len(features) + 2
        self.staged.parent.mkdir(parents=True, exist_ok=True)
        self.staged.unlink(missing_ok=True)
        try:
            self.engine.execute(f"ATTACH {sql.literal(str(self.staged))} AS staged")
            self._run(f"CREATE TABLE staged.rows AS {self.rows}")
            for feature in self._of(Categorical):
                self._run(self._copy(feature, sql.count_feature("FROM staged.rows", feature)))
            for feature in self._of(Sequence):
                self._run(self._copy(feature, sql.count_items("FROM staged.rows", feature)))
            self._moments("FROM staged.rows")
            self.engine.execute("DETACH staged")
        finally:
            with contextlib.suppress(OSError):
                self.staged.unlink(missing_ok=True)

    def _moments(self, rows: str) -> None:
        wanted = self._standardized()
        found: dict[int, tuple[int, float, float]] = {}
        if wanted:
            ((*values,),) = self.engine.rows(sql.moments(self.spec, rows, wanted))
            for position, feature in enumerate(wanted):
                number, mean, variance = values[3 * position : 3 * position + 3]
                if not math.isfinite((mean or 0.0) + (variance or 0.0)):
                    raise InfiniteValue(f"`{self.spec.columns[feature][0]}` has infinite values")
                found[feature] = (number, mean or 0.0, variance or 0.0)
        save(self.folder / MOMENTS, Moments(features=found))

    def _of(self, kind: type[Categorical] | type[Sequence]) -> list[int]:
        return [index for index, (_, group) in enumerate(self.spec.columns) if isinstance(group, kind)]

    def _standardized(self) -> list[int]:
        return [i for i, (_, g) in enumerate(self.spec.columns) if isinstance(g, Numeric) and g.standardize]

    def _write(self, feature: int, query: str) -> None:
        self.engine.execute(self._copy(feature, query))

    def _copy(self, feature: int, query: str) -> str:
        return sql.copy(query, self.folder / file_name(feature), "lz4")

    def _run(self, statement: str) -> None:
        """Run a pass over the raw rows; progress is by bytes where the system counts them, else by passes."""
        begun = bytes_read()

        def tick() -> None:
            now = bytes_read()
            if begun is None or now is None:
                self.report(Progress(STAGE, self.passed, self.passes))
                return
            read = min(max(now - begun, 0), self.size)
            self.report(
                Progress(STAGE, self.passed * self.size + read, self.passes * self.size or None, "bytes")
            )

        tick()
        self.engine.watched(statement, tick)
        self.passed += 1
