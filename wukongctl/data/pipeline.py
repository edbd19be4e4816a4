"""The pipeline behind `prepare`: two passes over the raw files.

The first pass counts the values of the train rows; the second encodes all rows and writes every split in
one ordered stream. Then counts are checked and the manifest is put together.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

import wukongctl
from wukongctl.config.dataset import ByColumn, Categorical, DatasetSpec, Numeric, Sequence, SplitName
from wukongctl.config.loading import did_you_mean
from wukongctl.data import diagnosis, encode, pretrained, splits, sql, statistics, synthetic, vocabulary
from wukongctl.data.engine import ConversionFailed, Engine
from wukongctl.data.manifest import Feature, Manifest, Split, Versions
from wukongctl.data.progress import Progress, Report, silent
from wukongctl.data.schema import schema_from_recipe
from wukongctl.data.sources import Resolved
from wukongctl.data.splits import Route
from wukongctl.data.vocabulary import Vocabulary
from wukongctl.data.writer import SplitWriter
from wukongctl.errors import CheckFailed, RunFailed, UsageError

SIGNIFICANT_DIGITS = 9
"""Means and deviations are rounded to this: beyond it, sums over threads differ from run to run."""
Scales = dict[int, tuple[float, float]]
Vectors = dict[int, pretrained.Written]
"""Frozen tables, by their position among tables."""


@dataclass(frozen=True)
class Options:
    """How to prepare, apart from what the recipe says."""

    recipe_dir: Path
    source: Path | None = None
    verify: bool = True
    memory_limit: str | None = None
    threads: int | None = None
    limit_rows: int | None = None
    force: bool = False
    report: Report = silent


@dataclass(frozen=True)
class Selection:
    """One ordered stream of rows: the recipe's query, the same wrapped by sql.select, and its route."""

    query: str
    rows: str
    route: Route
    types: dict[str, str]


def run(spec: DatasetSpec, options: Options, raw: Resolved, workspace: Path, folder: Path) -> Manifest:
    """Prepare `spec` from the files of `raw` into `folder`, and describe the result."""
    paths = dict(raw.paths)
    if spec.generator is not None:
        rows = min(spec.generator.rows, options.limit_rows or spec.generator.rows)
        paths["synthetic"] = workspace / "synthetic.parquet"
        synthetic.write(spec.generator, rows, paths["synthetic"], options.report)
    engine = Engine(
        spec.name,
        paths,
        spill=workspace / "spill",
        search=options.recipe_dir,
        memory_limit=options.memory_limit,
        threads=options.threads,
    )
    try:
        return _Pipeline(spec, options, raw, engine, folder).run()
    finally:
        engine.close()


class _Pipeline:
    def __init__(
        self, spec: DatasetSpec, options: Options, raw: Resolved, engine: Engine, folder: Path
    ) -> None:
        self.spec, self.options, self.raw, self.engine, self.folder = spec, options, raw, engine, folder

    def run(self) -> Manifest:
        selections = self._selections()
        train = selections[0].route.train_only(selections[0].rows)
        vocabularies = vocabulary.build(self.engine, self.spec, train, self.options.report)
        try:
            scales = self._scales(train)
            writers = self._encode(selections, vocabularies, scales)
        except ConversionFailed as failure:
            texts = [(selection.query, selection.types) for selection in selections]
            raise diagnosis.not_a_number(self.engine, self.spec, texts) or failure from None
        written = {name: writer.close() for name, writer in writers.items()}
        kept, failed = self._checked(written)
        self._write_vocabularies(vocabularies)
        vectors = self._write_vectors(vocabularies)
        return Manifest(
            dataset=self.spec.name,
            description=self.spec.description,
            license=self.spec.license,
            citation=self.spec.citation,
            recipe=self.spec.to_dict(),
            recipe_digest=self.spec.content_digest(),
            sql_sha256=self.engine.digest(),
            features=self._features(vocabularies, scales, vectors),
            splits=kept,
            sources=self.raw.sources,
            verified=not failed and not self.raw.problems,
            problems=(*self.raw.problems, *failed, *_notes(self.spec, kept, vectors)),
            statistics=self._statistics(kept, writers, vocabularies),
            limit_rows=self.options.limit_rows,
            versions=Versions(
                wukongctl=wukongctl.__version__, duckdb=duckdb.__version__, pyarrow=version("pyarrow")
            ),
            fingerprint=fingerprint({name: writers[name] for name in kept}, vocabularies, vectors, self.spec),
        )

    def _selections(self) -> list[Selection]:
        """The streams of rows in the order of splits; train is in the first."""
        if self.spec.generator is not None:
            self.engine.execute("CREATE VIEW synthetic AS SELECT * FROM read_parquet('{synthetic}')")
        selections = []
        for text, rule in splits.streams(self.spec):
            query = sql.source(text, self.options.limit_rows)
            types = self._types(query)
            selections.append(self._selection(query, types, splits.route(rule, self.engine, query)))
        return selections

    def _selection(self, query: str, types: dict[str, str], route: Route) -> Selection:
        return Selection(query, sql.select(self.spec, query, types, route.expression), route, types)

    def _types(self, query: str) -> dict[str, str]:
        """Lower-case column name → DuckDB type; UsageError for a feature that the SELECT lacks."""
        types = self.engine.types(query)
        known = {name.lower(): kind for name, kind in types.items()}
        for name, _ in self.spec.columns:
            if name.lower() not in known:
                raise UsageError(
                    f"feature `{name}` is not a column of the SELECT of dataset `{self.spec.name}`",
                    hint=did_you_mean(name, types) or f"it gives {', '.join(f'`{c}`' for c in types)}",
                )
        return known

    def _scales(self, train: str) -> Scales:
        """Mean and standard deviation on train of the features to standardize."""
        wanted = [i for i, (_, g) in enumerate(self.spec.columns) if isinstance(g, Numeric) and g.standardize]
        if not wanted:
            return {}
        self.options.report(Progress("measuring numeric features"))
        (row,) = self.engine.rows(sql.moments(self.spec, train, wanted))
        rounded = [float(f"{value or 0.0:.{SIGNIFICANT_DIGITS}g}") for value in row]
        return {index: (rounded[2 * i], rounded[2 * i + 1] or 1.0) for i, index in enumerate(wanted)}

    def _encode(
        self, selections: list[Selection], vocabularies: dict[int, Vocabulary], scales: Scales
    ) -> dict[SplitName, SplitWriter]:
        schema = encode.schema(self.spec)
        names = [name for selection in selections for name in selection.route.names]
        special = {self.spec.columns[i][0]: (v.missing, v.unknown) for i, v in vocabularies.items()}
        writers = {name: SplitWriter(self.folder, name, schema, special=special) for name in names}
        total, done = self._expected_rows(selections), 0
        for selection in selections:
            with_split = selection.route.expression is not None
            query = sql.encodable(self.spec, selection.rows, scales, with_split=with_split)
            row = 0
            for batch in encode.batches(self.engine, query, self.spec, vocabularies):
                diagnosis.require_values(self.engine, self.spec, selection.query, batch, row)
                for name, part in divided(batch, selection.route, row, schema):
                    writers[name].write(part)
                row += batch.num_rows
                self.options.report(Progress("encoding", done + row, total, "rows"))
            done += row
        return writers

    def _expected_rows(self, selections: list[Selection]) -> int | None:
        """How many rows will come, for progress, where the recipe or the split rule knows."""
        ends = selections[0].route.ends
        if ends:
            return ends[-1]
        expect = self.spec.expect
        known = [expect["total"]] if "total" in expect else list(expect.values())
        return sum(counts.rows for counts in known) if known and self.options.limit_rows is None else None

    def _checked(self, written: dict[SplitName, Split]) -> tuple[dict[SplitName, Split], list[str]]:
        """The splits that exist, and counts that differ from the published ones.

        Raises RunFailed for an empty split, CheckFailed for a count unless checks are off.
        """
        if isinstance(self.spec.split, ByColumn):
            written = {name: split for name, split in written.items() if split.rows or name == "train"}
        for name, split in written.items():
            if not split.rows:
                raise RunFailed(f"split `{name}` of dataset `{self.spec.name}` is empty")
        problems = [] if self.options.limit_rows is not None else diagnosis.count_problems(self.spec, written)
        if problems and self.options.verify:
            raise CheckFailed(
                f"dataset `{self.spec.name}` does not have the published counts",
                hint="add `--no-verify` to go on and record it in the manifest",
                problems=tuple(problems),
            )
        return written, [str(problem) for problem in problems]

    def _write_vocabularies(self, vocabularies: dict[int, Vocabulary]) -> None:
        (self.folder / vocabulary.FOLDER).mkdir(exist_ok=True)
        for index, (name, group) in enumerate(self.spec.columns):
            if index in vocabularies and not (isinstance(group, Sequence) and group.shares):
                vocabularies[index].write(self.folder / vocabulary.file_name(name))

    def _statistics(
        self,
        kept: dict[SplitName, Split],
        writers: dict[SplitName, SplitWriter],
        vocabularies: dict[int, Vocabulary],
    ) -> statistics.Statistics:
        known = {
            self.spec.columns[index][0]: statistics.of_vocabulary(v.values, v.counts, v.seen)
            for index, v in vocabularies.items()
        }
        return statistics.describe(
            [name for name, _ in self.spec.columns],
            {name: writers[name].tallies for name in kept},
            known,
            {name: split.positives / split.rows for name, split in kept.items()},
        )

    def _write_vectors(self, vocabularies: dict[int, Vocabulary]) -> Vectors:
        """The frozen vectors of each table that has some."""
        tables = vocabulary.tables(self.spec)
        written: Vectors = {}
        for index, (name, group) in enumerate(self.spec.columns):
            if not isinstance(group, Numeric) and group.pretrained is not None:
                known, path = vocabularies[index], self.engine.path(group.pretrained.file)
                self.options.report(Progress(f"writing vectors of {name}"))
                file = vocabulary.file_name(name, pretrained.FOLDER, "npy")
                written[tables[index]] = pretrained.write(
                    path, group.pretrained, known.values, known.first, known.rows, self.folder, file
                )
        return written

    def _features(
        self, vocabularies: dict[int, Vocabulary], scales: Scales, vectors: Vectors
    ) -> tuple[Feature, ...]:
        tables = vocabulary.tables(self.spec)
        dims = schema_from_recipe(self.spec).vector_dims
        features = []
        for index, (name, group) in enumerate(self.spec.columns):
            match group:
                case Numeric():
                    mean, std = scales.get(index, (None, None))
                    feature = Feature(
                        name=name, type="numeric", transform=group.transform, mean=mean, std=std
                    )
                case Categorical() | Sequence():
                    feature = Feature(
                        name=name,
                        type=group.type,
                        rows=vocabularies[index].rows,
                        table=tables[index],
                        vectors=vectors[tables[index]].path if tables[index] in vectors else None,
                        vector_dim=dims[tables[index]] if tables[index] in vectors else None,
                        max_len=group.max_len if isinstance(group, Sequence) else None,
                        padding=group.padding if isinstance(group, Sequence) else None,
                    )
            features.append(feature)
        return tuple(features)


def divided(
    batch: pa.RecordBatch, route: Route, row: int, schema: pa.Schema
) -> Iterator[tuple[SplitName, pa.Table]]:
    """The parts of a batch that begins at `row` of its stream, by split, under the final column names."""
    columns = [name for name in batch.schema.names if name != "split_"]
    table = pa.table([batch.column(name) for name in columns], names=schema.names).cast(schema)
    if route.ends:
        start = 0
        for name, end in zip(route.names, route.ends, strict=True):
            stop = min(max(end - row, start), table.num_rows)
            if stop > start:
                yield name, table.slice(start, stop - start)
            start = stop
    elif route.expression is not None:
        split = batch.column("split_").to_numpy()
        for position, name in enumerate(route.names):
            yield name, table.filter(pa.array(split == position))
    else:
        yield route.names[0], table


def fingerprint(
    writers: dict[SplitName, SplitWriter],
    vocabularies: dict[int, Vocabulary],
    vectors: Vectors,
    spec: DatasetSpec,
) -> str:
    """SHA-256 over the encoded values of each split and column, in row order, vocabularies and vectors."""
    content: dict[str, Any] = {
        "splits": [[name, writer.rows, writer.digests()] for name, writer in sorted(writers.items())],
        "vocabularies": [[spec.columns[i][0], v.digest()] for i, v in sorted(vocabularies.items())],
    }
    if vectors:
        content["vectors"] = [[table, written.digest] for table, written in sorted(vectors.items())]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _notes(spec: DatasetSpec, written: dict[SplitName, Split], vectors: Vectors) -> list[str]:
    """What a person should know although no check failed."""
    notes = []
    train = written["train"]
    if train.positives in (0, train.rows):
        notes.append(f"every label in `train` is {int(train.positives > 0)}: nothing can be learned from it")
    if not spec.files and spec.generator is None:
        notes.append("the recipe lists no `files`: a change of what its SQL reads will go unnoticed")
    notes += [
        f"`{file.path}`: {file.without:,} values of train have no vector, theirs is zero"
        for file in vectors.values()
        if file.without
    ]
    if splits.valid_is_test(spec):
        notes.append("`valid` is the test split, as in BARS: a model chosen on it has seen the test labels")
    return notes
