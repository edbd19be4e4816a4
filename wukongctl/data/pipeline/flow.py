"""The pipeline behind `prepare`: plan parts, read and count each, build vocabularies, encode each, assemble.

Stages leave their results in the work folder and are skipped when these are there, so that a killed run is
taken up where it was:

    parts.json                     which rows there are, and how they are divided over splits
    rows/<part>/                   those rows in a compact form
    counts/<part>/                 occurrences of each value in train rows
    vocab/                         value → id
    edges.json                     where numbers are cut into bins or pieces
    encoded/<part>/<split>/        Parquet
    shuffled/                      train in random order, where the recipe asks for it
    dataset/                       the above in its final places, with the manifest
"""

import hashlib
import json
import logging
import secrets
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from wukongctl.config.dataset import SPLITS, ByColumn, DatasetSpec, Numeric, Sequence, SplitName
from wukongctl.config.spec import Mismatch, Mistake
from wukongctl.data.acquire.sources import Resolved
from wukongctl.data.manifest import SAMPLE_ENCODED, SAMPLE_RAW, Manifest, RawRows, Split
from wukongctl.data.options import Options
from wukongctl.data.pipeline import (
    count,
    diagnosis,
    encode,
    numbers,
    parts,
    pretrained,
    raw_rows,
    reading,
    rejects,
    sample,
    shuffle,
    strength,
    vocabulary,
)
from wukongctl.data.pipeline.description import VERSIONS, EncodedData, Vectors, describe
from wukongctl.data.pipeline.executors import executor
from wukongctl.data.pipeline.job import GENERATED, PrepareJob
from wukongctl.data.pipeline.numbers import Encoders
from wukongctl.data.pipeline.parts import PartPlan
from wukongctl.data.pipeline.raw_rows import Noted
from wukongctl.data.pipeline.vocabulary import Vocabulary
from wukongctl.data.pipeline.writer import InfiniteValue, Written, joined
from wukongctl.data.progress import Progress, Report
from wukongctl.data.stages import ASSEMBLING, DATASET, begin, load, save
from wukongctl.data.synthetic import generate
from wukongctl.errors import CheckFailed, RunFailed, UsageError, WukongError

log = logging.getLogger(__name__)

RAW_ROWS = "raw.json"
LAYOUT = 6
"""Of the work folder: what another version left there is not taken up."""


def run(spec: DatasetSpec, options: Options, raw: Resolved, work: Path) -> Manifest:
    """Prepare `spec` from the files of `raw` into `work/dataset`, and describe the result."""
    begin(work, _key(spec, options, raw))
    paths = {**raw.paths, **_generated(spec, options, work)}
    job = PrepareJob(spec, paths, options.recipe_dir, work, options.memory_limit, options.threads)
    job = _planned(job, options)
    each = executor(options.engine)
    try:
        each(reading.STAGE, reading.read, job, job.parts, options.report)
        read = [reading.result(job, part) for part in job.parts]
        job = replace(job, parts=parts.bounded(spec, job.parts, [rows.rows for rows in read]))
        each(count.STAGE, count.count, job, [part for part in job.parts if part.trains], options.report)
        vocabularies = vocabulary.build(job, options.report)
        encoders = numbers.build(job, options.report)
        encoding = partial(encode.encode, vocabularies=vocabularies, encoders=encoders)
        each("encoding", encoding, job, job.parts, options.report)
    except InfiniteValue as failure:
        raise _first_infinite(job) or failure from None
    pieces = _pieces(job, options, vocabularies)
    whole = {name: joined([piece.written for piece in found]) for name, found in pieces.items()}
    kept, failed = _checked(job, options, whole)
    pieces = {name: pieces[name] for name in kept}
    noted = _noted(job, vocabularies, encoders)
    _assemble(job, pieces, kept, vocabularies)
    vectors = _vectors(job, vocabularies, options.report)
    written = {name: [piece.written for piece in found] for name, found in pieces.items()}
    aucs = strength.measure(job.work / DATASET, kept, [name for name, _ in spec.columns])
    outcome = EncodedData(
        vocabularies, encoders, written, kept, vectors, tuple(failed), _rejected(job), noted, aucs
    )
    return describe(job, raw, outcome, options.limit_rows)


def _noted(job: PrepareJob, vocabularies: dict[int, Vocabulary], encoders: Encoders) -> Noted:
    """What `predict` must know of the raw file, and the rows it checks itself with; asked once."""
    saved = load(job.work / RAW_ROWS, Noted)
    if saved is None:
        saved = raw_rows.note(job)
        if saved.raw is not None:
            sampled = _sampled(job, saved.raw, vocabularies, encoders)
            saved = Noted(raw=saved.raw.model_copy(update={"sampled": sampled}))
        save(job.work / RAW_ROWS, saved)
    return saved


def _sampled(job: PrepareJob, raw: RawRows, vocabularies: dict[int, Vocabulary], encoders: Encoders) -> int:
    try:
        return sample.take(job, raw, vocabularies, encoders, job.work)
    except WukongError as error:
        log.info("no sample rows for the self-check of `predict`: %s", error.message)
        return 0


def _first_infinite(job: PrepareJob) -> RunFailed | None:
    """Where the first number stands that is larger than float32 holds."""
    with job.engine("diagnosis") as engine:
        found = (diagnosis.unfit(engine, job.spec, part.query, part.types) for part in job.parts)
        return next((failure for failure in found if failure is not None), None)


def _key(spec: DatasetSpec, options: Options, raw: Resolved) -> str:
    """Of all that decides what the stages hold; never the same twice where the raw files are not known."""
    sources = [(source.file, source.sha256) for source in raw.sources]
    if not sources and spec.generator is None:
        return secrets.token_hex()
    content = [
        spec.content_digest(),
        options.limit_rows,
        sources,
        VERSIONS.to_dict(),
        parts.PART_BYTES,
        LAYOUT,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _generated(spec: DatasetSpec, options: Options, work: Path) -> dict[str, Path]:
    if spec.generator is None:
        return {}
    path = work / f"{GENERATED}.parquet"
    if not path.is_file():
        rows = min(spec.generator.rows, options.limit_rows or spec.generator.rows)
        unfinished = path.with_suffix(".partial")
        generate.write(spec.generator, rows, unfinished, options.report)
        unfinished.rename(path)
    return {GENERATED: path}


def _planned(job: PrepareJob, options: Options) -> PrepareJob:
    saved = load(job.work / "parts.json", PartPlan)
    if saved is None:
        options.report(Progress("inspecting raw files"))
        with job.engine("plan") as engine:
            saved = parts.plan(engine, job.spec, options.limit_rows)
        save(job.work / "parts.json", saved)
    return replace(job, parts=saved.parts, notes=saved.notes, paths=parts.with_runs(job.paths, saved.parts))


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
        pieces["train"] = [
            Piece(*shuffle.gather(job, job.spec.shuffle.seed, columns, special, options.report))
        ]
    return {name: found for name, found in pieces.items() if found}


def _checked(
    job: PrepareJob, options: Options, written: dict[SplitName, Split]
) -> tuple[dict[SplitName, Split], list[str]]:
    """The splits that exist, and counts that differ from the published ones.

    Raises WukongError for an empty split, CheckFailed for a count unless checks are off.
    """
    if isinstance(job.spec.split, ByColumn):
        written = {name: split for name, split in written.items() if split.rows or name == "train"}
    for name, split in written.items():
        if not split.rows:
            raise _empty(job.spec, name, options.limit_rows)
    problems = [] if options.limit_rows is not None else diagnosis.count_problems(job.spec, written)
    if problems and options.verify:
        raise CheckFailed(
            f"dataset `{job.spec.name}` does not have the published counts",
            hint="add `--no-verify` to continue and record the mismatch in the manifest",
            problems=tuple(problems),
        )
    return written, [str(problem) for problem in problems]


def _empty(spec: DatasetSpec, name: SplitName, limit_rows: int | None) -> WukongError:
    """What to change where a split has no rows: the rule that leaves it none, or the file that holds none."""
    what = f"split `{name}` of dataset `{spec.name}` is empty"
    if limit_rows is not None:
        return UsageError(f"{what} under `--limit-rows {limit_rows}`", hint="raise it, or omit it")
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
    """Move the results of all stages into `dataset/`; may be repeated after a kill."""
    folder = job.work / DATASET
    folder.mkdir(exist_ok=True)
    (job.work / ASSEMBLING).touch()
    for name, split in kept.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        sources = [piece.folder / file.path for piece in pieces[name] for file in piece.written.split.files]
        for source, target in zip(sources, split.files, strict=True):
            _move(source, folder / target.path)
    for file in (SAMPLE_RAW, SAMPLE_ENCODED):
        if (job.work / file).is_file():
            (folder / file).parent.mkdir(exist_ok=True)
            _move(job.work / file, folder / file)
    (folder / vocabulary.FOLDER).mkdir(exist_ok=True)
    for index, entry in vocabularies.items():
        name, group = job.spec.columns[index]
        if not (isinstance(group, Sequence) and group.shares):
            _move(job.work / vocabulary.FOLDER / entry.file, folder / vocabulary.file_name(name))


def _vectors(job: PrepareJob, vocabularies: dict[int, Vocabulary], report: Report) -> Vectors:
    """Write the frozen vectors of each table that has some into the dataset."""
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
    """How many rows were left out of all parts; their sample is put into the dataset."""
    count = sum(reading.result(job, part).rejected for part in job.parts)
    rejects.require(job.spec, count)
    if count:
        samples = [job.rows(part) / rejects.FILE for part in job.parts]
        rejects.join(samples, job.work / DATASET / rejects.FILE)
    return count


def _move(source: Path, target: Path) -> None:
    if source.is_file() or not target.is_file():
        source.rename(target)
