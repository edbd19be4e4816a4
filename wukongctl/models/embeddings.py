"""Features → embeddings: ids through one table for all features, numeric ones by a vector each.

Pretrained vectors are frozen; a learned linear map projects them to the common width.

B batch, C id columns, M numeric columns, N embeddings, D width, R rows of the table, V frozen dimension.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from wukongctl.data.schema import Batch, Schema
from wukongctl.models.deferred import new_table
from wukongctl.models.layers import linear as project
from wukongctl.models.lookups import Lookup, id_features, lookups_of, segments_of
from wukongctl.models.numbers import BottomEmbedding, NumericEmbedding, PiecewiseEmbedding


class Embeddings(nn.Module):
    """(B, C) ids → (B, N, D): one row per categorical column, the mean of its values per sequence.

    All features share one (R, D) table, each at its own offset: one lookup instead of C, and one
    sparse gradient. Id 0 means missing: an ordinary, learned row for a categorical column, left out of
    the mean for a sequence.

    Features of a frozen table are looked up there instead (`FrozenVectors`), in the same order.

    `features` are their names, in order; by default all once. A repeated name gets another embedding,
    from its own rows. `linear` adds a column that starts at zero, the feature weights of a linear model;
    the result is then (B, N, D + 1).
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
        self.table, self.initial = new_table(
            rows, width + linear, std=init_std or width**-0.5, linear=linear, sparse=sparse
        )
        # Not persistent: they follow from the dataset's manifest.
        offsets = [lookup.start for lookup in lookups for _ in lookup.columns]
        self.first_rows = tuple(offsets)  # in Python, for models on the meta device
        self.register_buffer("offsets", torch.tensor(offsets, dtype=torch.int64), persistent=False)
        columns = [column for lookup in lookups for column in lookup.columns]
        all_columns = columns == list(range(schema.id_columns))
        self.register_buffer(
            "columns", None if all_columns else torch.tensor(columns, dtype=torch.int64), persistent=False
        )
        self.frozen = nn.ModuleList(FrozenVectors(found, width + linear, linear=linear) for found in frozen)
        self.frozen_macs = sum(lookup.vector_dim for lookup in frozen) * (width + linear)
        order = sorted(range(self.n), key=lambda place: every[place].vector_dim > 0)  # as computed
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
    learned matrix without bias. Features that share vectors each have their own matrix, as in BARS.

    The (R, V) vectors are not parameters: they are not trained, they are part of the dataset, not of
    checkpoints, and may be memory-mapped. Until `fill_vectors` they are on the meta device.
    """

    def __init__(self, lookup: Lookup, width: int, *, linear: bool) -> None:
        super().__init__()
        self.table, self.pooled = lookup.table, lookup.pooled
        self.start, self.stop = lookup.columns.start, lookup.columns.stop
        vectors = torch.empty(lookup.rows, lookup.vector_dim, device="meta")
        self.register_buffer("vectors", vectors, persistent=False)
        self.projection = project(lookup.vector_dim, width, bias=False)
        if linear:  # the weights of the linear model start at zero
            with torch.no_grad():
                self.projection.weight[-1].zero_()

    def forward(self, ids: Tensor) -> Tensor:
        """(B, C) → (B, 1, D)."""
        ids = ids[:, self.start : self.stop]
        vectors = nn.functional.embedding(ids, self.vectors)  # (B, values, V)
        return self.projection(_masked_mean(vectors, ids) if self.pooled else vectors)


class FieldEmbeddings(nn.Module):
    """Every feature of a batch as an embedding: (B, N, D), ids first, then numeric features.

    Numeric feature j is x_j w_j, and piecewise ones follow (`PiecewiseEmbedding`); with `bottom`, the hidden
    layers of a `BottomEmbedding`, they are one embedding together. Each name in `repeated` gives that feature
    another embedding, after all others and in the same order of kinds. `linear` is as in `Embeddings`, also
    for numeric features.
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
        ids = [name for name in repeated if name not in schema.dense]
        numbers = [name for name in repeated if name in schema.numeric]
        positions = [name for name in repeated if name in schema.piecewise]
        features = (*id_features(schema), *ids) if ids else None
        self.ids = Embeddings(
            schema, width, features=features, linear=linear, init_std=init_std, sparse=sparse
        )
        plain = partial(_numeric, schema, width, linear=linear, init_std=init_std)
        cut = partial(_piecewise, schema, width, linear=linear, init_std=init_std)
        self.numeric: NumericEmbedding | BottomEmbedding | None = None
        self.piecewise: PiecewiseEmbedding | None = None
        if bottom is None:
            self.numeric, self.piecewise = plain(schema.numeric), cut(schema.piecewise)
        elif schema.dense:
            self.numeric = BottomEmbedding(schema, bottom, width)
        self.repeated_numeric, self.repeated_piecewise = plain(numbers), cut(positions)
        self.repeated = (*ids, *numbers, *positions)
        self.splits = (schema.embeddings, len(ids))
        self.n = schema.embeddings + (len(schema.dense) if bottom is None else bool(schema.dense))

    @property
    def table(self) -> nn.Embedding:
        """The table of all id features."""
        return self.ids.table

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) dense values → (B, N, D)."""
        X = self.ids(batch.ids)
        own = [part(batch.dense) for part in (self.numeric, self.piecewise) if part is not None]
        again = (self.repeated_numeric, self.repeated_piecewise)
        repeated = [part(batch.dense) for part in again if part is not None]
        if not own and not repeated:
            return X
        first, last = X.split(self.splits, dim=1)
        return torch.cat([first, *own, last, *repeated], dim=1)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per example: of the bottom MLP, of frozen vectors and of piecewise features;
        x_j w_j is not a matrix product."""
        bottom = self.numeric
        parts = {"embeddings.numeric": bottom.mlp.macs()} if isinstance(bottom, BottomEmbedding) else {}
        cut = {"piecewise": self.piecewise, "repeated_piecewise": self.repeated_piecewise}
        parts |= {f"embeddings.{name}": part.macs() for name, part in cut.items() if part is not None}
        return self.ids.macs("embeddings.ids") | parts


def _numeric(
    schema: Schema, width: int, names: Sequence[str], *, linear: bool, init_std: float | None
) -> NumericEmbedding | None:
    columns = [schema.numeric.index(name) for name in names]
    return NumericEmbedding(columns, width, linear=linear, init_std=init_std) if columns else None


def _piecewise(
    schema: Schema, width: int, names: Sequence[str], *, linear: bool, init_std: float | None
) -> PiecewiseEmbedding | None:
    if not names:
        return None
    columns = [schema.dense.index(name) for name in names]
    pieces = [schema.pieces[schema.piecewise.index(name)] for name in names]
    return PiecewiseEmbedding(columns, pieces, width, linear=linear, init_std=init_std)


def embedding_tables(model: nn.Module) -> list[Tensor]:
    """The weights of all tables of a model; its other parameters are dense."""
    return [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]


def frozen_vectors(model: nn.Module) -> list[FrozenVectors]:
    """The frozen lookups of a model; those of one table share its vectors."""
    return [module for module in model.modules() if isinstance(module, FrozenVectors)]


def fill_vectors(model: nn.Module, vectors: Mapping[int, Tensor]) -> None:
    """Set the vectors of each frozen lookup, without a copy."""
    for frozen in frozen_vectors(model):
        given, expected = vectors[frozen.table], frozen.vectors.shape
        if given.shape != expected:
            raise ValueError(f"vectors of table {frozen.table} are {given.shape}, expected {expected}")
        frozen.vectors = given


def store_tables(model: nn.Module, dtype: torch.dtype) -> None:
    """Store the tables of a model in `dtype`; looked-up rows are float32."""
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.weight.data = module.weight.data.to(dtype)


def look_up_outside_of_graphs(model: nn.Module) -> None:
    """Exclude lookups from compilation: torch.compile cannot trace sparse gradients.

    A decorator would import the compiler, half of the start-up time of a command that only scores.
    """
    for module in model.modules():
        if isinstance(module, Embeddings):
            module.look_up = torch.compiler.disable(module.look_up)


def _masked_mean(vectors: Tensor, ids: Tensor) -> Tensor:
    """(B, L, D) → (B, 1, D), over the positions with a nonzero id; zero if there are none."""
    mask = (ids > 0).unsqueeze(-1).to(vectors.dtype)  # (B, L, 1)
    return (vectors * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
