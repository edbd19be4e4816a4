"""The dataset recipe: where raw files come from, the SELECT that reads them, and what becomes a feature."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from math import gcd
from typing import Annotated, Literal

from pydantic import Field

from wukongctl.config import generated, generator, patterns
from wukongctl.config.generator import Generator
from wukongctl.config.numeric import Numeric
from wukongctl.config.spec import Mistake, PositiveInt, Spec

Md5 = Annotated[str, Field(pattern=patterns.MD5)]
Sha256 = Annotated[str, Field(pattern=patterns.SHA256)]
Url = Annotated[str, Field(pattern=patterns.URL)]
Identifier = Annotated[str, Field(pattern=patterns.IDENTIFIER, max_length=100)]
SplitName = Literal["train", "valid", "test"]
MAX_REJECTED = 1000
SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")
CONTENT = {
    "name", "files", "generator", "rows", "split", "splits", "compat", "label", "probability", "features",
}  # fmt: skip
"""Keys that decide the prepared content."""
RESERVED_COLUMNS = frozenset({"label", "probability"})


def in_order(ratio: Mapping[SplitName, int]) -> tuple[SplitName, ...]:
    """The splits of a ratio as rows come: train, valid, test."""
    return tuple(name for name in SPLITS if name in ratio)


def boundaries(rows: int, ratio: Mapping[SplitName, int]) -> tuple[int, ...]:
    """The row at which each split of `ratio` ends: the cumulative share of `rows`, rounded up."""
    ends = tuple(accumulate(ratio[name] for name in in_order(ratio)))
    return tuple(-(-rows * end // ends[-1]) for end in ends)


def is_pattern(name: str) -> bool:
    """Whether a raw file's name stands for all files that fit it."""
    return any(character in name for character in "*?[")


class License(Spec):
    """The owner's terms, shown before the first download."""

    name: str
    url: str | None = None
    redistribution: bool = False


class RawFile(Spec):
    """A file as the dataset's owner ships it; placeholders `'{name}'` in the SQL stand for its path."""

    md5: Md5 | None = None
    sha256: Sha256 | None = None
    bytes: PositiveInt | None = None

    def described(self) -> str:
        """Size and checksum in words, for a person who fetches the file by hand; empty if none is known."""
        size = f"{self.bytes:,} bytes" if self.bytes is not None else ""
        checksum = f"sha256 {self.sha256}" if self.sha256 else f"md5 {self.md5}" if self.md5 else ""
        return ", ".join(filter(None, [size, checksum]))


class Download(RawFile):
    """An archive of raw files, or a single raw file, to download."""

    urls: Annotated[tuple[Url, ...], Field(min_length=1)]
    """Mirrors in order of preference."""


class Pretrained(Spec):
    """Frozen vectors for the values of a feature, from HDF5 (`.h5`), NumPy (`.npz`) or Parquet.

    Keys that do not occur in train join the vocabulary after its values, in file order, so that new items
    have vectors too.
    """

    file: str
    """One of `files`."""
    key: str = "key"
    """Array or column of the values, shape (n)."""
    value: str = "value"
    """Array or column of their vectors, shape (n, dim)."""
    dim: PositiveInt


class Categorical(Spec):
    """Columns whose values become ids: 0 missing, 1 out of vocabulary, 2… by descending train count."""

    type: Literal["categorical"]
    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    min_count: PositiveInt = 1
    """Values with a lower train count get the out-of-vocabulary id."""
    pretrained: Pretrained | None = None
    """Frozen vectors to use instead of a learned embedding table."""


class Sequence(Spec):
    """Columns with several values per row: text such as `Action|Comedy`, or lists (Parquet, JSON)."""

    type: Literal["sequence"]
    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    separator: Annotated[str | None, Field(min_length=1)] = None
    """Separator of values in text; omit it for lists. Empty values are dropped."""
    max_len: PositiveInt
    keep: Literal["last", "first"] = "last"
    """Which end of a longer sequence to keep."""
    padding: Literal["pre", "post"] = "post"
    """Pad shorter sequences before or after their values."""
    min_count: PositiveInt = 1
    shares: str | None = None
    """Categorical column whose vocabulary and embedding table this sequence shares. Counts are added; the
    column's `min_count` applies."""
    pretrained: Pretrained | None = None
    """As for categorical columns. With `shares`, the column's vectors are used."""


FeatureGroup = Annotated[Categorical | Numeric | Sequence, Field(discriminator="type")]


class Rule(Spec):
    """What all split rules have."""

    of: SplitName | None = None
    """With `splits`: which of them to divide; `train` when omitted."""


class ByHash(Rule):
    """Pseudo-random split by a seeded md5 of `key`: the same rows land in the same split on any machine."""

    by: Literal["hash"]
    key: str
    """SQL expression over the selected columns; rows with equal keys stay together."""
    seed: int = 0
    ratio: dict[SplitName, PositiveInt]


class ByOrder(Rule):
    """By file order: the first rows train, the last test."""

    by: Literal["order"]
    ratio: dict[SplitName, PositiveInt]


class ByTime(Rule):
    """By time: the earliest rows train, the latest test. Rows with equal times stay together."""

    by: Literal["time"]
    column: str
    ratio: dict[SplitName, PositiveInt]


class ByColumn(Rule):
    """A column names the split of each row: `train`, `valid` or `test`."""

    by: Literal["column"]
    column: str


SplitRule = Annotated[ByHash | ByOrder | ByTime | ByColumn, Field(discriminator="by")]


class Shuffle(Spec):
    """A global shuffle of the train rows at preparation."""

    seed: int = 0


class ExpectedCounts(Spec):
    """Published counts, checked after preparation."""

    rows: PositiveInt
    positives: PositiveInt | None = None


class DatasetSpec(Spec):
    """A dataset: from raw files to splits, label and features."""

    name: Identifier
    description: str
    homepage: str | None = None
    citation: str | None = None
    license: License | None = None
    downloads: dict[str, Download] = Field(default={})
    """File name → where to fetch it."""
    instructions: str | None = None
    """For gated sources: what to fetch by hand, and where to put it."""
    files: dict[str, RawFile] = Field(default={})
    """Raw file name → checksums. Found in `--source`, in a download, or beside the recipe. A pattern such
    as `day=*/*.parquet` matches many files, in path order."""
    generator: Generator | None = None
    """Generate rows instead of reading `files`; the SQL reads them from the table `synthetic`."""
    rows: str | None = None
    """DuckDB SELECT for all rows, divided by `split`. Rows keep its order; a SELECT that joins or groups
    needs an ORDER BY to be reproducible."""
    splits: dict[SplitName, str] | None = None
    """One DuckDB SELECT per split, for data that ships with splits."""
    allow_read: tuple[str, ...] = ()
    """What else the SQL may read than `files` and the folder of the recipe: files, folders, and addresses or
    their beginnings (`s3://bucket/`). Relative paths start at the recipe."""
    split: SplitRule | None = None
    """How `rows` are divided. With `splits`, divides one of them further, for example to get a validation
    split."""
    compat: Literal["bars"] | None = None
    """`bars` encodes as the BARS benchmark (FuxiCTR), for comparable numbers: id 0 pads sequences, values
    start at 1, the last id is out of vocabulary and missing; a sequence that shares a table adds the values
    that reach its own `min_count`; without a `valid` in `splits`, validation is the test split."""
    shuffle: Shuffle | None = None
    """Write train rows in a seeded random order (`shuffle: {}`); otherwise, and in other splits, rows keep
    the order of the SELECT. Destroys time order."""
    on_error: Literal["fail", "skip"] = "fail"
    """`skip` leaves out rows that cannot be read, have text where a number belongs, or a label other than 0
    and 1. They are counted in the manifest and sampled in `rejected.csv`."""
    max_rejected: Annotated[int, Field(ge=0)] = MAX_REJECTED
    """With `on_error: skip`: more bad rows than this are an error."""
    label: str
    """SQL expression giving 0 or 1."""
    probability: str | None = None
    """SQL expression giving the true click probability, if known; gives the Bayes LogLoss."""
    features: Annotated[tuple[FeatureGroup, ...], Field(min_length=1)]
    cardinalities: dict[str, PositiveInt] = Field(default={})
    """Embedding rows per feature (vocabulary or bins, + 2), or pieces if `piecewise`, for counting FLOPs
    and parameters before the data is downloaded."""
    expect: dict[Literal["train", "valid", "test", "total"], ExpectedCounts] = Field(default={})
    """Expected counts per split; with `splits`, those before `split` divides one."""

    def _mistakes(self) -> Iterator[Mistake]:
        yield from self._split_mistakes()
        yield from self._feature_mistakes()
        yield from self._label_mistakes()
        yield from self._file_mistakes()
        yield from self._generator_mistakes()
        for index, entry in enumerate(self.allow_read):
            if "*" in entry:
                yield Mistake(f"`{entry}` is a pattern: name its folder instead", ("allow_read", index))
        if self.max_rejected != MAX_REJECTED and self.on_error != "skip":
            what = "no row is left out for `max_rejected` to bound"
            yield Mistake(what, ("max_rejected",), "add `on_error: skip`")

    def _split_mistakes(self) -> Iterator[Mistake]:
        if (self.rows is None) == (self.splits is None):
            yield Mistake("give either `rows` with `split`, or `splits`", ("splits",))
            return
        if self.rows is not None and self.split is None:
            yield Mistake("`rows` needs a `split`", ("rows",))
        if self.rows is not None and self.split is not None and self.split.of is not None:
            yield Mistake("`of` is for a `split` beside `splits`", ("split", "of"))
        if self.splits is not None and isinstance(self.split, ByColumn):
            yield Mistake("a `column` cannot divide one of `splits`", ("split", "by"))
            return
        names = [name for name in self.splits or () if name != self.divided]
        names += getattr(self.split, "ratio", ())
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield Mistake(f"`{name}` is in `splits` and in `split.ratio`", ("split", "ratio", name))
        if self.divided is not None and self.divided not in (self.splits or ()):
            yield Mistake(f"there is no `{self.divided}` in `splits` to divide", ("split",))
        apart = self.splits is not None and "train" not in self.splits
        if apart or ("train" not in names and not isinstance(self.split, ByColumn)):
            where = ("splits",) if apart else ("split", "ratio")
            yield Mistake("there must be a `train` split: vocabularies are counted on it", where)

    def _feature_mistakes(self) -> Iterator[Mistake]:
        seen: set[str] = set()
        for index, group in enumerate(self.features):
            for position, name in enumerate(group.columns):
                where = ("features", index, "columns", position)
                if name in RESERVED_COLUMNS:
                    yield Mistake(f"a feature may not be called `{name}`, rename it in the SELECT", where)
                if name in seen:
                    yield Mistake(f"feature `{name}` is listed twice", where)
                seen.add(name)
            if isinstance(group, Sequence) and group.shares:
                where = ("features", index, "shares")
                if group.shares not in self.categorical:
                    yield Mistake(f"`shares: {group.shares}` is not a categorical feature", where)
                if group.pretrained is not None:
                    yield Mistake("a sequence that `shares` a table takes its vectors from there", where)
        yield from self._taken_names()
        for name in self.cardinalities:
            if name not in seen:
                yield Mistake(
                    f"`cardinalities` names `{name}`, which is not a feature", ("cardinalities", name)
                )

    def _taken_names(self) -> Iterator[Mistake]:
        added = {group.encoded(name): name for name, group in self.numeric}
        for index, group in enumerate(self.features):
            for position, name in enumerate(group.columns):
                if name in added:
                    what = f"`{name}` is the name of the column that encodes `{added[name]}`"
                    hint = "rename one of them in the SELECT"
                    yield Mistake(what, ("features", index, "columns", position), hint)

    def _label_mistakes(self) -> Iterator[Mistake]:
        label = self.label.strip().strip('"').lower()
        for index, group in enumerate(self.features):
            for position, name in enumerate(group.columns):
                if name.lower() == label and name not in RESERVED_COLUMNS:
                    where = ("features", index, "columns", position)
                    yield Mistake(f"feature `{name}` is the label itself", where)

    def _file_mistakes(self) -> Iterator[Mistake]:
        places = {("rows",): self.rows or ""} | {("splits", n): q for n, q in (self.splits or {}).items()}
        for where, query in places.items():
            for name in re.findall(r"'\{([^{}']+)\}'", query):
                if name not in self.files:
                    yield Mistake(f"the SQL reads `{{{name}}}`, which is not listed under `files`", where)
        for name, raw in self.files.items():
            if is_pattern(name) and raw.described():
                yield Mistake(
                    f"`{name}` stands for many files, which cannot all have one checksum", ("files", name)
                )
        for index, group in enumerate(self.features):
            vectors = None if isinstance(group, Numeric) else group.pretrained
            where = ("features", index, "pretrained", "file")
            if vectors is not None and vectors.file not in self.files:
                yield Mistake(f"`{vectors.file}` is not listed under `files`", where)
            elif vectors is not None and is_pattern(vectors.file):
                yield Mistake("vectors come from one file, not from a pattern", where)

    def _generator_mistakes(self) -> Iterator[Mistake]:
        if self.is_declared:
            yield from generated.obstacles(dict(self))
        if self.generator is None or self.rows is None or not isinstance(self.split, ByOrder):
            return
        rows, ratio = self.generator.rows, self.split.ratio
        ends = (0, *boundaries(rows, ratio)) if ratio else ()
        for name, (start, end) in zip(in_order(ratio), pairwise(ends), strict=True):
            if start == end:
                enough = sum(ratio.values()) // gcd(*ratio.values())
                yield Mistake(
                    f"{rows} rows leave split `{name}` empty, {enough} fill every one", ("generator", "rows")
                )
                return

    @property
    def divided(self) -> SplitName | None:
        """Which of `splits` the `split` rule divides; None where there is nothing to divide."""
        if self.splits is None or self.split is None:
            return None
        return self.split.of or "train"

    @property
    def columns(self) -> tuple[tuple[str, Categorical | Numeric | Sequence], ...]:
        """Every feature with the group that describes it, in recipe order."""
        return tuple((column, group) for group in self.features for column in group.columns)

    def content_digest(self) -> str:
        """SHA-256 of what decides the prepared content: not of mirrors, descriptions or published counts."""
        asked = {"shuffle"} if self.shuffle is not None else set()
        asked |= {"on_error"} if self.on_error != "fail" else set()
        content = self.model_dump(mode="json", include=CONTENT | asked)
        for group in content["features"]:
            if group.get("encoding") == "scalar":  # as before there were others
                del group["encoding"], group["bins"]
        if content["generator"] is not None:
            content["generator"] = generator.without_later_keys(content["generator"])
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def is_declared(self) -> bool:
        """Whether ids and scales follow what the generator declares, not counts of train rows."""
        return self.generator is not None and (self.generator.declared or self.generator.stream)

    @property
    def queries(self) -> tuple[str, ...]:
        """The SELECTs, as written."""
        return (self.rows,) if self.rows is not None else tuple((self.splits or {}).values())

    @property
    def categorical(self) -> tuple[str, ...]:
        """Names of the categorical columns, in recipe order."""
        return tuple(c for group in self.features if isinstance(group, Categorical) for c in group.columns)

    @property
    def numeric(self) -> tuple[tuple[str, Numeric], ...]:
        """The numeric columns with their groups, in recipe order."""
        return tuple((name, group) for name, group in self.columns if isinstance(group, Numeric))

    @property
    def encoded(self) -> tuple[tuple[int, str, Numeric], ...]:
        """The columns added beside numeric ones: the position of that feature among `columns`, the name of
        the column added, the group."""
        return tuple(
            (index, name, group)
            for index, (column, group) in enumerate(self.columns)
            if isinstance(group, Numeric)
            for name in [group.encoded(column)]
            if name is not None
        )
