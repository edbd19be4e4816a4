"""The pipeline behind `prepare`: plan parts, read and count each, build vocabularies, encode each, assemble.

Each stage leaves its result in the work folder and is skipped if it is there, so that an interrupted run
resumes:

    parts.json                     the parts of the rows, and how they are divided over splits
    rows/<part>/                   their number of rows, and the rows in a compact form unless in memory
    counts/<part>/                 occurrences of each value in train rows
    vocab/                         value → id
    edges.json                     edges of the bins or pieces of numbers
    encoded/<part>/<split>/        Parquet
    shuffled/                      train in random order, if the recipe asks for it
    dataset/                       all of it in the final places, with the manifest
"""

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from wukongctl.config.dataset import (
    SPLITS,
    ByColumn,
    ByOrder,
    DatasetSpec,
    Numeric,
    Sequence,
    SplitName,
    boundaries,
)
from wukongctl.config.spec import Mismatch, Mistake
from wukongctl.data.acquire.sources import Resolved
from wukongctl.data.manifest import SAMPLE_ENCODED, SAMPLE_RAW, Manifest, Split
from wukongctl.data.options import Options
from wukongctl.data.pipeline import (
    bad_rows,
    codes,
    count,
    encode,
    numbers,
    parts,
    pretrained,
    raw_rows,
    reading,
    shuffle,
    splits,
    strength,
    vocabulary,
)
from wukongctl.data.pipeline.description import VERSIONS, Prepared, Vectors, describe
from wukongctl.data.pipeline.job import GENERATED, PrepareJob, executor
from wukongctl.data.pipeline.parts import PartPlan
from wukongctl.data.pipeline.store import HeldRows
from wukongctl.data.pipeline.vocabulary import Vocabulary
from wukongctl.data.pipeline.writer import InfiniteValue, Written, joined
from wukongctl.data.progress import Progress, ReportProgress
from wukongctl.data.query.access import Refused, mentions
from wukongctl.data.stages import ASSEMBLING, DATASET, begin, load, save
from wukongctl.data.synthetic import generate, stream
from wukongctl.errors import CheckFailed, RunFailed, UsageError, WukongError

LAYOUT = 7
"""Version of the work folder; other versions are not resumed."""


def run(spec: DatasetSpec, options: Options, raw: Resolved, work: Path) -> Manifest:
    """Prepare `spec` from the files of `raw` into `work/dataset`, and describe the result."""
    with _system_memory():
        return _run(spec, options, raw, work.absolute())


@contextmanager
def _system_memory() -> Iterator[None]:
    """Arrow takes memory from the C library within the block.

    Its own allocator clears a third more pages when batches pass from thread to thread, and keeps more.
    """
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def _run(spec: DatasetSpec, options: Options, raw: Resolved, work: Path) -> Manifest:
    begin(work, _key(spec, options, raw))
    paths = {**raw.paths, **_generated(spec, options, work)}
    held: dict[int, HeldRows] | None = {} if options.engine == "local" else None
    job = PrepareJob(spec, paths, options.recipe_dir, work, options.memory_limit, options.threads, held=held)
    job = _planned(job, options)
    _forget_counts(job)
    run_stage = executor(options.engine)
    try:
        run_stage(reading.STAGE, reading.read, job, job.parts, options.report)
        rows = [reading.result(job, part).rows for part in job.parts]
        ends = _streamed_ends(spec, options)
        job = replace(job, parts=parts.bounded(spec, job.parts, rows, stream.stored_ends(ends)))
        run_stage(count.STAGE, count.count, job, [part for part in job.parts if part.trains], options.report)
        vocabularies = vocabulary.build(job, options.report)
        encoders = numbers.build(job, options.report)
        encoding = partial(encode.encode, vocabularies=vocabularies, encoders=encoders)
        run_stage("encoding", encoding, job, job.parts, options.report)
    except InfiniteValue as failure:
        raise _first_infinite(job) or failure from None
    pieces = _pieces(job, options, vocabularies)
    kept, mismatches = _checked(job, options, pieces)
    if ends:
        kept["train"] = _extrapolated(kept["train"], ends[0])
    raw_input = raw_rows.describe(job, vocabularies, encoders)
    _assemble(job, pieces, kept, vocabularies)
    if ends:
        codes.write(spec, encoders, job.work / DATASET)
    prepared = Prepared(
        vocabularies=vocabularies,
        encoders=encoders,
        written={name: [piece.written for piece in pieces[name]] for name in kept},
        splits=kept,
        vectors=_vectors(job, vocabularies, options.report),
        mismatches=tuple(mismatches),
        rejected=_rejected(job),
        raw_input=raw_input,
        aucs=strength.measure(job.work / DATASET, kept, [name for name, _ in spec.columns], job.threads),
    )
    return describe(job, raw, prepared, options.limit_rows)


def _first_infinite(job: PrepareJob) -> RunFailed | None:
    """The error for the first number that float32 cannot hold."""
    with job.engine("diagnosis") as engine:
        errors = (bad_rows.first(engine, job.spec, part.query, part.types) for part in job.parts)
        return next((error for error in errors if error is not None), None)


def _key(spec: DatasetSpec, options: Options, raw: Resolved) -> str:
    """Digest of all that the stages depend on; a new one each time if the raw files are not known."""
    sources = [(source.file, source.sha256) for source in raw.sources]
    if not sources and spec.generator is None:
        return secrets.token_hex()
    digest = spec.content_digest()
    content = [digest, options.limit_rows, sources, VERSIONS.to_dict(), parts.PART_BYTES, LAYOUT]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _generated(spec: DatasetSpec, options: Options, work: Path) -> dict[str, Path]:
    """The file of generated rows, if the recipe has a generator."""
    if spec.generator is None:
        return {}
    path = work / f"{GENERATED}.parquet"
    if not path.is_file():
        rows = min(spec.generator.rows, options.limit_rows or spec.generator.rows)
        ends = _streamed_ends(spec, options)
        stored = stream.stored(ends) if ends else [range(rows)]
        unfinished = path.with_suffix(".partial")
        generate.write(spec.generator, stored, unfinished, options.report, options.threads)
        unfinished.rename(path)
    return {GENERATED: path}


def _streamed_ends(spec: DatasetSpec, options: Options) -> tuple[int, ...]:
    """The row at which each split ends, if train rows are drawn while training; else empty."""
    generator, rule = spec.generator, spec.split
    if generator is None or not generator.stream or not isinstance(rule, ByOrder):
        return ()
    return boundaries(min(generator.rows, options.limit_rows or generator.rows), rule.ratio)


def _extrapolated(train: Split, rows: int) -> Split:
    """A streamed split of `rows`, from what is stored of it."""
    positives = round(train.positives * rows / train.rows)
    return train.model_copy(update={"rows": rows, "positives": positives, "streamed": True})


def _planned(job: PrepareJob, options: Options) -> PrepareJob:
    plan = load(job.work / "parts.json", PartPlan)
    if plan is None:
        options.report(Progress("inspecting raw files"))
        try:
            with job.engine("plan") as engine:
                plan = parts.plan(engine, job.spec, options.limit_rows)
        except Refused as refused:
            raise Mismatch([_refused(job.spec, refused)]) from None
        save(job.work / "parts.json", plan)
    return replace(job, parts=plan.parts, notes=plan.notes, paths=parts.with_runs(job.paths, plan.parts))


def _forget_counts(job: PrepareJob) -> None:
    """Delete counts, and what came of them, of rows that were in the memory of an ended process.

    Such rows are read again, and a SELECT with a sample, or a join without an order, then returns others.
    Once a part is encoded, the others keep to its vocabularies.
    """
    lost = any(reading.is_lost(job, part) for part in job.parts)
    if lost and not any(job.encoded(part).is_dir() for part in job.parts):
        for folder in (*(job.counts(part) for part in job.parts), job.work / vocabulary.FOLDER):
            shutil.rmtree(folder, ignore_errors=True)
        (job.work / numbers.SAVED).unlink(missing_ok=True)


def _refused(spec: DatasetSpec, refused: Refused) -> Mistake:
    """At the SELECT that reads the path."""
    places: dict[tuple[str, ...], str] = {("rows",): spec.rows} if spec.rows is not None else {}
    places |= {("splits", name): query for name, query in (spec.splits or {}).items()}
    where = next((place for place, query in places.items() if mentions(query, refused)), None)
    return Mistake(refused.message, where or next(iter(places)), refused.hint)


class Piece(NamedTuple):
    """What one stage wrote of one split, and where."""

    folder: Path
    written: Written


def _pieces(
    job: PrepareJob, options: Options, vocabularies: dict[int, Vocabulary]
) -> dict[SplitName, list[Piece]]:
    """The pieces of each split, in order."""
    pieces: dict[SplitName, list[Piece]] = {name: [] for name in SPLITS}
    for part in job.parts:
        for name, written in encode.result(job, part).splits.items():
            pieces[name].append(Piece(job.encoded(part), written))
    if job.spec.shuffle is not None:
        special = encode.special_ids(job.spec, vocabularies)
        columns = encode.schema(job.spec)
        shuffled = shuffle.gather(job, job.spec.shuffle.seed, columns, special, options.report)
        pieces["train"] = [Piece(*shuffled)]
    return {name: found for name, found in pieces.items() if found}


def _checked(
    job: PrepareJob, options: Options, pieces: dict[SplitName, list[Piece]]
) -> tuple[dict[SplitName, Split], list[str]]:
    """The splits that exist, and mismatches with the published counts.

    Raises WukongError for an empty split, CheckFailed for a mismatch unless checks are off.
    """
    found = {name: joined([piece.written for piece in pieces[name]]) for name in pieces}
    if isinstance(job.spec.split, ByColumn):
        found = {name: split for name, split in found.items() if split.rows or name == "train"}
    for name, split in found.items():
        if not split.rows:
            raise _empty(job.spec, name, options.limit_rows)
    problems = [] if options.limit_rows is not None else splits.count_problems(job.spec, found)
    if problems and options.verify:
        raise CheckFailed(
            f"dataset `{job.spec.name}` does not have the published counts",
            hint="add `--no-verify` to continue and record the mismatch in the manifest",
            problems=tuple(problems),
        )
    return found, [str(problem) for problem in problems]


def _empty(spec: DatasetSpec, name: SplitName, limit_rows: int | None) -> WukongError:
    """The error for a split without rows, with the key to change."""
    what = f"split `{name}` of dataset `{spec.name}` is empty"
    if limit_rows is not None:
        return UsageError(
            f"{what} under `--limit-rows {limit_rows}`", hint="raise `--limit-rows`, or omit it"
        )
    if spec.split is None or name not in getattr(spec.split, "ratio", SPLITS):
        return RunFailed(what, hint=f"check the file and the filters of `splits.{name}`")
    if spec.generator is not None:
        hint = f"generate more than {spec.generator.rows:,} rows, or change `split`"
        return Mismatch([Mistake(what, ("generator", "rows"), hint)])
    return Mismatch([Mistake(what, ("split",), "change the ratio, the key or the seed")])


def _assemble(
    job: PrepareJob,
    pieces: dict[SplitName, list[Piece]],
    kept: dict[SplitName, Split],
    vocabularies: dict[int, Vocabulary],
) -> None:
    """Move the results of all stages into `dataset/`; can be repeated after an interruption."""
    folder = job.work / DATASET
    folder.mkdir(exist_ok=True)
    (job.work / ASSEMBLING).touch()
    for name, split in kept.items():
        sources = [piece.folder / file.path for piece in pieces[name] for file in piece.written.split.files]
        for source, target in zip(sources, split.files, strict=True):
            _move(source, folder / target.path)
    for file in (SAMPLE_RAW, SAMPLE_ENCODED):
        if (job.work / file).is_file():
            _move(job.work / file, folder / file)
    (folder / vocabulary.FOLDER).mkdir(exist_ok=True)
    for index, entry in vocabularies.items():
        name, group = job.spec.columns[index]
        if not (isinstance(group, Sequence) and group.shares):
            _move(job.work / vocabulary.FOLDER / entry.file, folder / vocabulary.file_name(name))


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file() or not target.is_file():
        source.rename(target)


def _vectors(job: PrepareJob, vocabularies: dict[int, Vocabulary], report: ReportProgress) -> Vectors:
    """Write the pretrained vectors of each table that has some into the dataset."""
    tables, folder = vocabulary.tables(job.spec), job.work / DATASET
    written: Vectors = {}
    for index, (name, group) in enumerate(job.spec.columns):
        if isinstance(group, Numeric) or group.pretrained is None:
            continue
        report(Progress(f"writing pretrained vectors of {name}"))
        entry = vocabularies[index]
        values = vocabulary.read(folder / vocabulary.file_name(name))
        path, file = job.path(group.pretrained.file), vocabulary.file_name(name, pretrained.FOLDER, "npy")
        written[tables[index]] = pretrained.write(
            path, group.pretrained, values, entry.first, entry.rows, folder, file
        )
    return written


def _rejected(job: PrepareJob) -> int:
    """How many rows of all parts were left out; writes their sample into the dataset."""
    rejected = sum(reading.result(job, part).rejected for part in job.parts)
    bad_rows.require_few(job.spec, rejected)
    if rejected:
        samples = [job.rows(part) / bad_rows.FILE for part in job.parts]
        bad_rows.join(samples, job.work / DATASET / bad_rows.FILE)
    return rejected
