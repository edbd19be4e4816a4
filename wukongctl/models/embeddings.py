"""Features → embeddings: ids through one table for all features, numeric ones by a vector each.

Pretrained vectors stay as they are; a learned linear map brings them to the common width.

B batch, C id columns, M numeric columns, N embeddings, D width, R rows of the table, V frozen dimension.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from wukongctl.data.schema import Batch, Schema
from wukongctl.models.layers import MLP
from wukongctl.models.layers import linear as project
from wukongctl.models.lookups import Lookup, id_features, lookups_of, segments_of


class Embeddings(nn.Module):
    """(B, C) ids → (B, N, D): one row per categorical column, the mean of its values per sequence.

    All features share one (R, D) table, each at its own offset: one look-up instead of C, and one
    sparse gradient. Id 0 means missing: an ordinary, learned row for a categorical column, left out of
    the mean for a sequence.

    Features of a frozen table are looked up there instead (`FrozenVectors`), and keep their place.

    `features` says which ones, in order; by default all once. Naming one again gives it another
    embedding, from rows of its own. `linear` adds a column that starts at zero, the feature weights of
    a linear model; the result is then (B, N, D + 1).
    """

    def __init__(
        self,
        schema: Schema,
        width: int,
        *,
        features: Sequence[str] | None = None,
        linear: bool = False,
        init_std: float | None = None,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        every = lookups_of(schema, id_features(schema) if features is None else features)
        lookups = [lookup for lookup in every if not lookup.vector_dim]
        frozen = [lookup for lookup in every if lookup.vector_dim]
        self.n = len(every)
        self.segments = segments_of(lookups)
        rows = max((lookup.start + lookup.rows for lookup in lookups), default=1)
        # Made empty: PyTorch would fill it with numbers that are then thrown away.
        empty = torch.empty(rows, width + linear)
        self.table = nn.Embedding(rows, width + linear, sparse=sparse, _weight=empty)
        _initialize(self.table.weight, init_std or width**-0.5, linear=linear)
        # Not persistent: they follow from the dataset's manifest, which a checkpoint names.
        offsets = [lookup.start for lookup in lookups for _ in lookup.columns]
        self.register_buffer("offsets", torch.tensor(offsets, dtype=torch.int64), persistent=False)
        columns = [column for lookup in lookups for column in lookup.columns]
        whole = columns == list(range(schema.id_columns))
        self.register_buffer(
            "columns", None if whole else torch.tensor(columns, dtype=torch.int64), persistent=False
        )
        self.frozen = nn.ModuleList(FrozenVectors(found, width + linear, linear=linear) for found in frozen)
        self.frozen_macs = sum(lookup.vector_dim for lookup in frozen) * (width + linear)
        order = sorted(range(self.n), key=lambda place: every[place].vector_dim > 0)  # as they are computed
        places = None if order == sorted(order) else [order.index(place) for place in range(self.n)]
        self.register_buffer(
            "places", None if places is None else torch.tensor(places, dtype=torch.int64), persistent=False
        )

    def forward(self, ids: Tensor) -> Tensor:
        """(B, C) integer ids → (B, N, D) embeddings."""
        learned = self._learned(ids)
        if not self.frozen:
            return learned
        X = torch.cat([learned, *(part(ids) for part in self.frozen)], dim=1)
        return X if self.places is None else X.index_select(1, self.places)

    def macs(self, name: str) -> dict[str, int]:
        """Multiply-accumulates per example of the maps of frozen vectors, as the part `name`.frozen."""
        return {f"{name}.frozen": self.frozen_macs} if self.frozen else {}

    def look_up(self, ids: Tensor) -> Tensor:
        """(B, C) ids of all learned columns → (B, C, D) rows of the table in float32."""
        vectors = self.table(ids + self.offsets)
        return vectors.float() if vectors.dtype == torch.bfloat16 else vectors

    def _learned(self, ids: Tensor) -> Tensor:
        if self.columns is not None:
            ids = ids.index_select(1, self.columns)
        vectors = self.look_up(ids)  # (B, C, D)
        if all(not pooled for _, pooled in self.segments):
            return vectors
        parts = []
        lengths = [length for length, _ in self.segments]
        for (_, pooled), values, part in zip(
            self.segments, ids.split(lengths, dim=1), vectors.split(lengths, dim=1), strict=True
        ):
            parts.append(_masked_mean(part, values) if pooled else part)
        return torch.cat(parts, dim=1)  # (B, N, D)


class FrozenVectors(nn.Module):
    """(B, C) ids → (B, 1, D): the pretrained vector of one feature, or the mean of a sequence's, times a
    learned matrix without bias. Features that share vectors have each their own matrix, as in BARS.

    The (R, V) vectors are no parameters: no optimiser moves them, no checkpoint holds them (the dataset
    does), and they may be a memory-mapped file. Until `fill_vectors` they are shapes without memory.
    """

    def __init__(self, lookup: Lookup, width: int, *, linear: bool) -> None:
        super().__init__()
        self.table, self.pooled = lookup.table, lookup.pooled
        self.start, self.stop = lookup.columns.start, lookup.columns.stop
        vectors = torch.empty(lookup.rows, lookup.vector_dim, device="meta")
        self.register_buffer("vectors", vectors, persistent=False)
        self.projection = project(lookup.vector_dim, width, bias=False)
        if linear:  # the feature's part in a linear model starts at zero, as learned weights do
            with torch.no_grad():
                self.projection.weight[-1].zero_()

    def forward(self, ids: Tensor) -> Tensor:
        """(B, C) → (B, 1, D)."""
        ids = ids[:, self.start : self.stop]
        vectors = nn.functional.embedding(ids, self.vectors)  # (B, values, V)
        return self.projection(_masked_mean(vectors, ids) if self.pooled else vectors)


class NumericEmbedding(nn.Module):
    """(B, M) values → (B, M, D): value x_j times a learned vector w_j, as in factorization machines.

    `columns` says which values, in which order and how often; by default each once.
    """

    def __init__(
        self, columns: Sequence[int], width: int, *, linear: bool = False, init_std: float | None = None
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(len(columns), width + linear))
        _initialize(self.weight, init_std or width**-0.5, linear=linear)
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64), persistent=False)

    def forward(self, dense: Tensor) -> Tensor:
        """(B, M) → (B, M, D)."""
        return dense.index_select(1, self.columns).unsqueeze(2) * self.weight


class GroupEmbedding(nn.Module):
    """Features of little importance as few embeddings: each looked up in a narrow table, side by side
    through one MLP. (B, C) ids → (B, embeddings, D)."""

    def __init__(
        self,
        schema: Schema,
        features: Sequence[str],
        *,
        narrow: int,
        hidden: Sequence[int],
        embeddings: int,
        width: int,
        init_std: float | None,
        sparse: bool,
    ) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.ids = Embeddings(schema, narrow, features=features, init_std=init_std, sparse=sparse)
        self.mlp = MLP(len(features) * narrow, hidden, embeddings * width)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, C) → (B, embeddings, D)."""
        return self.mlp(self.ids(ids).flatten(1)).unflatten(1, (self.embeddings, -1))


class BottomEmbedding(nn.Module):
    """(B, M) values → (B, 1, D): one MLP with a final ReLU for all numeric features, as in DLRM."""

    def __init__(self, columns: int, hidden: Sequence[int], width: int) -> None:
        super().__init__()
        self.mlp = MLP(columns, (*hidden, width), None)

    def forward(self, dense: Tensor) -> Tensor:
        """(B, M) → (B, 1, D)."""
        return self.mlp(dense).unsqueeze(1)


class FieldEmbeddings(nn.Module):
    """Every feature of a batch as an embedding: (B, N, D), ids first, then numeric features.

    Numeric feature j is x_j w_j; with `bottom`, the hidden layers of a `BottomEmbedding`, all of them
    are one embedding instead. Each name in `repeated` gives that feature one embedding more, after all
    others, ids before numeric ones. `linear` is that of `Embeddings`, for numeric features too.
    """

    def __init__(
        self,
        schema: Schema,
        width: int,
        *,
        bottom: Sequence[int] | None = None,
        repeated: Sequence[str] = (),
        linear: bool = False,
        init_std: float | None = None,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        columns = {name: column for column, name in enumerate(schema.numeric)}
        ids = [name for name in repeated if name not in columns]
        again = [name for name in repeated if name in columns]
        features = (*id_features(schema), *ids) if ids else None
        self.ids = Embeddings(
            schema, width, features=features, linear=linear, init_std=init_std, sparse=sparse
        )
        self.numeric: NumericEmbedding | BottomEmbedding | None = None
        if columns and bottom is not None:
            self.numeric = BottomEmbedding(len(columns), bottom, width)
        elif columns:
            self.numeric = NumericEmbedding(tuple(columns.values()), width, linear=linear, init_std=init_std)
        self.repeated_numeric = (
            NumericEmbedding([columns[name] for name in again], width, linear=linear, init_std=init_std)
            if again
            else None
        )
        self.repeated = (*ids, *again)
        self.splits = (schema.embeddings, len(ids))
        self.n = schema.embeddings + (0 if not columns else len(columns) if bottom is None else 1)

    @property
    def table(self) -> nn.Embedding:
        """The table of all id features."""
        return self.ids.table

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) dense values → (B, N, D)."""
        X = self.ids(batch.ids)
        if self.numeric is None and self.repeated_numeric is None:
            return X
        parts = list(X.split(self.splits, dim=1))
        if self.numeric is not None:
            parts.insert(1, self.numeric(batch.dense))
        if self.repeated_numeric is not None:
            parts.append(self.repeated_numeric(batch.dense))
        return torch.cat(parts, dim=1)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per example: of the bottom MLP and of frozen vectors; x_j w_j is no matrix
        product."""
        bottom = self.numeric
        parts = {"embeddings.numeric": bottom.mlp.macs()} if isinstance(bottom, BottomEmbedding) else {}
        return self.ids.macs("embeddings.ids") | parts


def embedding_tables(model: nn.Module) -> list[Tensor]:
    """The weights of all tables of a model; the other parameters are its dense ones."""
    return [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]


def frozen_vectors(model: nn.Module) -> list[FrozenVectors]:
    """The frozen look-ups of a model; those of one table share its vectors."""
    return [module for module in model.modules() if isinstance(module, FrozenVectors)]


def fill_vectors(model: nn.Module, vectors: Mapping[int, Tensor]) -> None:
    """Give each frozen look-up the vectors of its table; they are not copied."""
    for frozen in frozen_vectors(model):
        given, expected = vectors[frozen.table], frozen.vectors.shape
        if given.shape != expected:
            raise ValueError(f"vectors of table {frozen.table} are {given.shape}, expected {expected}")
        frozen.vectors = given


def store_tables(model: nn.Module, dtype: torch.dtype) -> None:
    """Keep the tables of a model in `dtype`; what is looked up stays float32."""
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.weight.data = module.weight.data.to(dtype)


def look_up_outside_of_graphs(model: nn.Module) -> None:
    """For a model to be compiled: torch.compile cannot trace sparse gradients, and would gain nothing here.

    As a decorator this would import the compiler, half of the start of a command that only scores.
    """
    for module in model.modules():
        if isinstance(module, Embeddings):
            module.look_up = torch.compiler.disable(module.look_up)


def _masked_mean(vectors: Tensor, ids: Tensor) -> Tensor:
    """(B, L, D) → (B, 1, D), over the positions whose id is not 0; zero where there is none."""
    mask = (ids > 0).unsqueeze(-1).to(vectors.dtype)  # (B, L, 1)
    return (vectors * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)


@torch.no_grad()
def _initialize(weight: Tensor, std: float, *, linear: bool) -> None:
    """Gaussian vectors; the weights of the linear model, if any, start at zero."""
    weight.normal_(std=std)
    if linear:
        weight[:, -1].zero_()
