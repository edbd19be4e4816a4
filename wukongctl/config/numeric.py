"""Numeric features: one key says how a number is encoded, and which columns it becomes."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from wukongctl.config.spec import Mistake, Spec

Encoding = Literal["scalar", "bins", "scalar+bins", "piecewise", "log2"]
DEFAULT_BINS = 48


class Numeric(Spec):
    """Numeric columns. Every column `x` is stored as float32; some encodings add a column."""

    type: Literal["numeric"]
    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    encoding: Encoding = "scalar"
    """What models see. `scalar`: the number, 0 where missing. `bins`: the id of its quantile bin,
    column `x_bin`, with an embedding per bin and one for missing. `scalar+bins`: both. `piecewise`:
    piecewise-linear encoding (Gorishniy et al. 2022, arXiv 2203.05556), column `x_ple`. `log2`: bins of
    floor(ln(x)²) above 2 and whole numbers below, as in the Criteo challenge, column `x_bin`."""
    bins: Annotated[int, Field(ge=2, le=1024)] = DEFAULT_BINS
    """Maximum number of quantile bins (`bins`, `scalar+bins`) or pieces (`piecewise`), from the train
    split. A column with no more distinct values has one bin each."""
    transform: Literal["none", "log1p"] = "none"
    """`log1p` is ln(1 + max(x, 0))."""
    standardize: bool = True
    """Subtract the train mean and divide by the train standard deviation (if above 1e-12)."""

    def _mistakes(self) -> Iterator[Mistake]:
        if self.encoding == "log2" and self.transform != "none":
            what = "`encoding: log2` takes the logarithm itself"
            yield Mistake(what, ("transform",), "leave out `transform`", others=(("encoding",),))
        if not self.is_cut and self.bins != DEFAULT_BINS:
            what = f"`encoding: {self.encoding}` has no quantile bins for `bins` to bound"
            yield Mistake(what, ("bins",), "add `encoding: bins`", others=(("encoding",),))

    @property
    def has_bins(self) -> bool:
        """Whether there is an id column of bins."""
        return self.encoding in ("bins", "scalar+bins", "log2")

    @property
    def is_piecewise(self) -> bool:
        """Whether there is a column of positions between breakpoints."""
        return self.encoding == "piecewise"

    @property
    def is_cut(self) -> bool:
        """Whether `bins` bounds how many bins or pieces there are."""
        return self.encoding in ("bins", "scalar+bins", "piecewise")

    @property
    def has_scalar(self) -> bool:
        """Whether models read the number itself."""
        return self.encoding in ("scalar", "scalar+bins")

    def encoded(self, column: str) -> str | None:
        """The column added beside `column`; None for `scalar`."""
        if self.encoding == "scalar":
            return None
        return f"{column}_ple" if self.is_piecewise else f"{column}_bin"
