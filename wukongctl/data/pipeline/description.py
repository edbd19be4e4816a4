"""The manifest of a prepared dataset: features, splits, statistics, fingerprint, remarks."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import duckdb
import pyarrow

import wukongctl
from wukongctl.config.dataset import Categorical, DatasetSpec, Numeric, Sequence, SplitName
from wukongctl.data.acquire.sources import Resolved
from wukongctl.data.manifest import SPECIAL_IDS, Feature, Manifest, Split, Versions
from wukongctl.data.pipeline import bad_rows, pretrained, splits, vocabulary
from wukongctl.data.pipeline.job import PrepareJob
from wukongctl.data.pipeline.numbers import Encoders
from wukongctl.data.pipeline.raw_rows import RawInput
from wukongctl.data.pipeline.vocabulary import Vocabulary
from wukongctl.data.pipeline.writer import Written
from wukongctl.data.query import masking
from wukongctl.data.schema import schema_from_recipe
from wukongctl.data.statistics import LEAK_AUC
from wukongctl.data.tallies import describe as describe_tallies
from wukongctl.data.tallies import merged

VERSIONS = Versions(
    wukongctl=wukongctl.__version__, duckdb=duckdb.__version__, pyarrow=version(pyarrow.__name__)
)
Vectors = dict[int, pretrained.WrittenVectors]
"""By position of the embedding table."""
MIN_TRAIN, MIN_HELD_OUT = 200, 50
"""Rows of the rarer class in train and in a held-out split; fewer are remarked on."""


@dataclass(frozen=True)
class Prepared:
    """The results of all stages; `written` has the pieces of each split, `splits` their sums."""

    vocabularies: dict[int, Vocabulary]
    encoders: Encoders
    written: dict[SplitName, list[Written]]
    splits: dict[SplitName, Split]
    vectors: Vectors
    mismatches: tuple[str, ...]
    rejected: int
    raw_input: RawInput
    aucs: dict[str, float]
    """By feature (see `strength`)."""


def describe(job: PrepareJob, raw: Resolved, prepared: Prepared, limit_rows: int | None) -> Manifest:
    """The manifest of a preparation."""
    spec, raw_input = job.spec, _without_secrets(prepared.raw_input)
    described = describe_tallies(
        [name for name, _ in spec.columns],
        {name: merged(piece.tallies for piece in pieces) for name, pieces in prepared.written.items()},
        {spec.columns[index][0]: entry.statistics for index, entry in prepared.vocabularies.items()},
        {name: split.positives / split.rows for name, split in prepared.splits.items()},
        prepared.aucs,
    )
    return Manifest(
        dataset=spec.name,
        description=spec.description,
        license=spec.license,
        citation=spec.citation,
        recipe=masking.masked(spec.to_dict()),
        recipe_digest=spec.content_digest(),
        sql_sha256=_sql_digest(job),
        features=_features(spec, prepared),
        splits=prepared.splits,
        sources=raw.sources,
        verified=_verified(spec, raw, prepared, limit_rows),
        problems=(*raw.problems, *prepared.mismatches, *job.notes, *_notes(spec, prepared)),
        rejected=prepared.rejected,
        statistics=described,
        limit_rows=limit_rows,
        raw=raw_input.raw,
        obstacle=raw_input.obstacle,
        versions=VERSIONS,
        fingerprint=fingerprint(prepared, spec),
    )


def _without_secrets(found: RawInput) -> RawInput:
    """What new rows need, unless it contains a secret."""
    if found.raw is None or masking.masked(found.raw.to_dict()) == found.raw.to_dict():
        return found
    return RawInput(obstacle="it contains a secret, which the dataset does not keep")


def _verified(spec: DatasetSpec, raw: Resolved, prepared: Prepared, limit_rows: int | None) -> bool | None:
    if prepared.mismatches or raw.problems or (limit_rows and spec.expect):
        return False
    return True if spec.expect or any(source.verified for source in raw.sources) else None


def _sql_digest(job: PrepareJob) -> str:
    queries = "\n".join(part.select(job.spec) for part in job.parts)
    return hashlib.sha256(queries.encode()).hexdigest()


def _features(spec: DatasetSpec, prepared: Prepared) -> tuple[Feature, ...]:
    vocabularies, vectors = prepared.vocabularies, prepared.vectors
    tables = vocabulary.tables(spec)
    dims = schema_from_recipe(spec).vector_dims
    features = []
    for index, (name, group) in enumerate(spec.columns):
        match group:
            case Numeric():
                encoder = prepared.encoders[index]
                feature = Feature(
                    name=name,
                    type="numeric",
                    encoding=group.encoding,
                    transform=group.transform,
                    mean=encoder.mean,
                    std=encoder.std,
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
    return (*features, *_encoded(spec, prepared.encoders, tables))


def _encoded(spec: DatasetSpec, encoders: Encoders, tables: Mapping[int, int]) -> Iterator[Feature]:
    """The encoded columns of numeric features."""
    for index, name, group in spec.encoded:
        of, edges = spec.columns[index][0], encoders[index].edges or ()
        if group.is_piecewise:
            yield Feature(name=name, type="piecewise", of=of, edges=edges)
        else:
            rows = len(edges) + 1 + SPECIAL_IDS
            yield Feature(name=name, type="bin", of=of, edges=edges, rows=rows, table=tables[index])


def fingerprint(prepared: Prepared, spec: DatasetSpec) -> str:
    """SHA-256 over the encoded values of each split, part and column in row order, vocabularies, vectors."""
    content: dict[str, Any] = {
        "splits": [
            [name, piece.split.rows, piece.digests]
            for name, pieces in sorted(prepared.written.items())
            for piece in pieces
        ],
        "vocabularies": [[spec.columns[i][0], v.sha256] for i, v in sorted(prepared.vocabularies.items())],
    }
    if prepared.splits["train"].streamed:
        content["streamed"] = prepared.splits["train"].rows
    if spec.encoded:
        content["edges"] = [[name, prepared.encoders[index].edges] for index, name, _ in spec.encoded]
    if prepared.vectors:
        content["vectors"] = [[table, file.digest] for table, file in sorted(prepared.vectors.items())]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _notes(spec: DatasetSpec, prepared: Prepared) -> list[str]:
    """Remarks on a dataset that passed all checks."""
    rows = "1 bad row was" if prepared.rejected == 1 else f"{prepared.rejected:,} bad rows were"
    notes = [f"{rows} left out: see `{bad_rows.FILE}`"] if prepared.rejected else []
    notes += _one_class(prepared.splits)
    if not spec.files and spec.generator is None:
        notes.append("the recipe lists no `files`: changes to what its SQL reads will go unnoticed")
    notes += _constant(spec, prepared)
    notes += [
        f"`{name}` alone gives AUC {auc:.4f}: leave it out if it is known only after the label"
        for name, auc in prepared.aucs.items()
        if auc >= LEAK_AUC
    ]
    notes += [
        f"`{file.path}`: values of train without a vector, which is zero: {file.without:,}"
        for file in prepared.vectors.values()
        if file.without
    ]
    if splits.valid_is_test(spec):
        notes.append("`valid` is the test split, as in BARS: a model chosen on it has seen the test labels")
    return [*notes, *_few_of_a_class(prepared.splits)]


def _one_class(splits: Mapping[SplitName, Split]) -> Iterator[str]:
    """A remark for each split with one class."""
    train = splits["train"]
    if not train.has_both_classes:
        yield f"every label in `train` is {int(train.positives > 0)}: nothing can be learned from it"
        return
    for name, split in splits.items():
        if not split.has_both_classes:
            what = f"every label in `{name}` is {int(split.positives > 0)} ({split.rows:,} rows)"
            yield f"{what}: AUC is undefined; change the ratio, key or rule of `split`"


def _few_of_a_class(splits: Mapping[SplitName, Split]) -> Iterator[str]:
    """One remark for all splits with few rows of the rarer class."""
    few = []
    for name, split in splits.items():
        negatives = split.rows - split.positives
        count = min(split.positives, negatives)
        if 0 < count < (MIN_TRAIN if name == "train" else MIN_HELD_OUT):
            few.append(f"{count} {'negatives' if negatives < split.positives else 'positives'} in `{name}`")
    if few:
        yield (
            f"only {', '.join(few)}: too few to compare models; have at least {MIN_TRAIN} in train and "
            f"{MIN_HELD_OUT} in each held-out split"
        )


def _constant(spec: DatasetSpec, prepared: Prepared) -> list[str]:
    """Remarks on features with one value, or none, in train."""
    counted = merged(piece.tallies for piece in prepared.written["train"])
    notes = []
    for index, (name, group) in enumerate(spec.columns):
        tally, entry = counted[name], prepared.vocabularies.get(index)
        if tally.missing == tally.rows:
            notes.append(f"`{name}` is missing in every row of `train`: nothing can be learned from it")
        elif isinstance(group, Sequence) or tally.missing:
            continue
        elif tally.minimum == tally.maximum and (entry is None or entry.statistics.seen == 1):
            notes.append(
                f"`{name}` has the same value in every row of `train`: nothing can be learned from it"
            )
    return notes
