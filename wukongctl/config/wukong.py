"""Wukong's section of a training recipe; symbols as in the paper (arXiv 2403.02545)."""

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

from pydantic import Discriminator, Field, Tag

from wukongctl.config.dimensions import LAYERS, WIDTHS, Space, Stack, Steps
from wukongctl.config.model_section import DeepSpec, Depth, Named, Size, Widths, named_twice
from wukongctl.config.spec import Mistake, Spec


def _form_of_size(value: object) -> str:
    return "list" if isinstance(value, list | tuple) else "one"


def _form_of_widths(value: object) -> str:
    nested = isinstance(value, list | tuple) and any(isinstance(item, list | tuple) for item in value)
    return "list" if nested else "one"


# The form of the value chooses the branch, so that a wrong value is reported once.
LayerSize = Annotated[
    Annotated[Size, Tag("one")] | Annotated[tuple[Size, ...], Tag("list")],
    Discriminator(_form_of_size),
]
"""A number for all layers, or a list with one per layer."""
LayerWidths = Annotated[
    Annotated[Widths, Tag("one")] | Annotated[tuple[Widths, ...], Tag("list")],
    Discriminator(_form_of_widths),
]
"""Widths for all layers, or a list with one list per layer."""


class Attention(Spec):
    """Attentive projection Y(X): W_c X, flattened, through an MLP, to n x k."""

    rows: Size = 8
    """Rows m of the compressed input W_c X."""
    hidden: Widths = (64,)
    """Hidden layers of the MLP."""


class Group(Spec):
    """Minor features that share a few embeddings."""

    features: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names, or patterns such as `device_*`."""
    width: Size = 4
    """Width of their embedding tables."""
    hidden: Widths = ()
    """Hidden layers of the MLP from their concatenation to the embeddings of the group."""
    embeddings: Size = 1
    """Number of embeddings of the whole group."""


class LayerSizes(NamedTuple):
    """The sizes of one Wukong layer."""

    n_F: int  # noqa: N815
    n_L: int  # noqa: N815
    k: int
    hidden: Widths


class WukongSpec(DeepSpec):
    """Wukong: a stack of factorization machine and linear compress blocks."""

    name: Literal["wukong"]
    layers: Depth = 2
    """Number of layers; l layers reach interactions of order 2^l."""
    n_F: LayerSize = 8  # noqa: N815
    """Embeddings from the factorization machine block; one value, or a list per layer."""
    n_L: LayerSize = 8  # noqa: N815
    """Embeddings from the linear compress block; one value, or a list per layer."""
    k: LayerSize = 8
    """Columns of the projection Y in X Xᵀ Y; one value, or a list per layer. Unused with `projection:
    none`."""
    projection: Literal["none", "static", "attentive"] = "static"
    """Projection Y: `none` keeps all pairs, `static` learns weights, `attentive` computes it from X."""
    attention: Attention = Attention()
    """Sizes of an attentive projection; unused otherwise."""
    hidden: LayerWidths = (128,)
    """Hidden layers of the MLP in the factorization machine block; one list, or a list per layer."""
    bottom: Widths = (512, 256)
    """Hidden layers of the MLP that turns numeric features into embeddings."""
    dense_embeddings: Size = 1
    """Embeddings from the bottom MLP."""
    embeddings_per_feature: dict[str, Size] = Field(default_factory=dict)
    """Number of embeddings of important categorical or sequence features, by name or pattern such as
    `user_*`; one when omitted."""
    groups: tuple[Group, ...] = ()
    """Groups of minor categorical or sequence features, each mapped by an MLP to a few embeddings."""
    head: Widths = (128,)
    """Hidden layers of the final MLP."""
    bias: bool = True
    """Use biases in the MLPs of the factorization machine blocks."""
    ablate: tuple[Literal["fmb", "lcb", "residual"], ...] = ()
    """Parts of every layer whose output is zeroed, as in Figure 4; sizes and cost stay."""

    def _mistakes(self) -> Iterator[Mistake]:
        yield from self._layer_mistakes()
        yield from named_twice(self.named_features)
        if len(set(self.ablate)) == 3:
            what = "`ablate` names all three parts: nothing would be left of a layer"
            yield Mistake(what, ("ablate",))

    def _layer_mistakes(self) -> Iterator[Mistake]:
        """Lists that have not one entry per layer."""
        for key in ("n_F", "n_L", "k", "hidden"):
            value = getattr(self, key)
            form = _form_of_widths(value) if key == "hidden" else _form_of_size(value)
            if form == "list" and len(value) != self.layers:
                entries = "1 entry" if len(value) == 1 else f"{len(value)} entries"
                what = f"`{key}` has {entries} but `layers` is {self.layers}"
                hint = "give one value for all layers, or one per layer"
                yield Mistake(what, (key,), hint, others=(("layers",),))

    def search_space(self) -> Space:
        """Sizes of blocks and head; those given layer by layer stay, and the number of layers with them."""
        shallow = Stack(WIDTHS, Steps((1, 2), natural_low=True))
        sizes = ("n_F", "n_L") if self.projection == "none" else ("n_F", "n_L", "k")
        space: Space = {key: Steps((4, 8, 16, 32)) for key in sizes if isinstance(getattr(self, key), int)}
        by_layer = len(space) < len(sizes)
        if any(isinstance(width, tuple) for width in self.hidden):
            by_layer = True
        else:
            space["hidden"] = shallow
        if not by_layer:
            space["layers"] = LAYERS
        return space | {"head": shallow}

    @property
    def named_features(self) -> list[Named]:
        """The features that are not embedded just once, and the keys that name them."""
        repeated = [(name, ("embeddings_per_feature", name)) for name in self.embeddings_per_feature]
        grouped = [
            (name, ("groups", index, "features", place))
            for index, group in enumerate(self.groups)
            for place, name in enumerate(group.features)
        ]
        return [*repeated, *grouped]

    @property
    def layer_sizes(self) -> tuple[LayerSizes, ...]:
        """The sizes of each layer, single values spread over all of them."""
        return tuple(
            LayerSizes(
                n_F=_size_at(self.n_F, layer),
                n_L=_size_at(self.n_L, layer),
                k=_size_at(self.k, layer),
                hidden=_widths_at(self.hidden, layer),
            )
            for layer in range(self.layers)
        )


def _size_at(sizes: int | tuple[int, ...], layer: int) -> int:
    return sizes if isinstance(sizes, int) else sizes[layer]


def _widths_at(widths: Widths | tuple[Widths, ...], layer: int) -> Widths:
    nested = [item for item in widths if isinstance(item, tuple)]
    return nested[layer] if nested else tuple(item for item in widths if isinstance(item, int))
