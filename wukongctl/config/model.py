"""Model pages of a training recipe; the symbols are the paper's (arXiv 2403.02545)."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import Discriminator, Field, SerializerFunctionWrapHandler, Tag, model_serializer

from wukongctl.config.spec import Mistake, PositiveFloat, Spec

Size = Annotated[int, Field(gt=0, le=1 << 20)]
"""A width or a number of rows, vectors or heads; a typing error should not ask for all memory."""
Depth = Annotated[int, Field(gt=0, le=1000)]
DropoutRate = Annotated[float, Field(ge=0, le=0.999)]
Widths = tuple[Size, ...]


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


Named: TypeAlias = tuple[str, tuple[str | int, ...]]
"""A feature, or a pattern of features, and the key of a page that names it."""


def named_twice(named: Sequence[Named]) -> Iterator[Mistake]:
    """One mistake for each name that stands in the list before."""
    seen: set[str] = set()
    for name, path in named:
        if name in seen:
            yield Mistake(f"the model names `{name}` twice", path)
        seen.add(name)


class ModelSpec(Spec):
    """What every model needs."""

    width: Size = 16
    """Embedding width d."""
    embedding_init: PositiveFloat | None = None
    """Standard deviation of new embeddings; width^-1/2 when absent. Tiny values starve the LayerNorm
    after the factorization machine."""
    logit_scale: PositiveFloat = 1.0
    """Factor on the first weights of the last layer, the one that makes the logit. A small one starts all
    predictions near one half, so that a short pass has no random ones to unlearn. `fm` has no such layer."""

    @model_serializer(mode="wrap")
    def _without_default_scale(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Recipes written before `logit_scale` keep their digests, hence their run folders."""
        content = serialize(self)
        if self.logit_scale == 1.0:
            content.pop("logit_scale", None)
        return content

    @property
    def needs_two_rows(self) -> bool:
        """Whether a batch of one row leaves a BatchNorm without a variance."""
        return getattr(self, "batch_norm", False)


class FieldsSpec(ModelSpec):
    """A model for which a numeric feature is an embedding like any other."""

    bottom: Widths | None = None
    """Hidden layers of an MLP that makes one embedding of all numeric features; absent: one embedding
    x_j w_j for each."""


class DeepSpec(ModelSpec):
    """A model with hidden layers."""

    dropout: DropoutRate = 0.0


class DeepFieldsSpec(DeepSpec, FieldsSpec):
    """A model with hidden layers for which a numeric feature is an embedding like any other."""


class Attention(Spec):
    """How an attentive projection Y(X) is computed: W_c X, flattened, through an MLP, to n x k."""

    rows: Size = 8
    """Rows m of the linearly compressed input."""
    hidden: Widths = (64,)


class Group(Spec):
    """Features of little importance that share a few embeddings of the common width."""

    features: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names, or patterns such as `device_*`."""
    width: Size = 4
    """Width of the tables in which each feature is looked up."""
    hidden: Widths = ()
    """Hidden layers of the MLP from all of them, side by side, to the embeddings of the group."""
    embeddings: Size = 1


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
    n_F: LayerSize = 8  # noqa: N815
    """Embeddings made by the factorization machine block: of each layer, or a list with one per layer."""
    n_L: LayerSize = 8  # noqa: N815
    """Embeddings made by the linear compress block: of each layer, or a list with one per layer."""
    k: LayerSize = 8
    """Columns of the projection Y in X Xᵀ Y, or a list with one per layer; unused when `projection` is
    none."""
    projection: Literal["none", "static", "attentive"] = "static"
    attention: Attention = Attention()
    hidden: LayerWidths = (128,)
    """Hidden layers of the MLP inside the factorization machine block, or a list of such lists with one
    per layer."""
    bottom: Widths = (512, 256)
    """Hidden layers of the MLP that turns numeric features into embeddings."""
    dense_embeddings: Size = 1
    """Embeddings the bottom MLP yields."""
    embeddings_per_feature: dict[str, Size] = Field(default_factory=dict)
    """How many embeddings an important categorical or sequence feature gets; one where absent. Names, or
    patterns such as `user_*`."""
    groups: tuple[Group, ...] = ()
    """Groups of unimportant categorical or sequence features, each mapped by an MLP to few embeddings."""
    head: Widths = (128,)
    """Hidden layers of the final MLP on the flattened stack output."""
    bias: bool = True
    """Biases in the MLPs of the factorization machine blocks."""
    ablate: tuple[Literal["fmb", "lcb", "residual"], ...] = ()
    """Parts of every layer whose output is replaced by zeros; sizes and cost stay (Figure 4)."""

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


class FMSpec(ModelSpec):
    """FM (doi:10.1109/ICDM.2010.127): a linear model plus the dot products of all pairs."""

    name: Literal["fm"]


class DeepFMSpec(DeepSpec):
    """DeepFM (arXiv 1703.04247): an FM and an MLP on the same embeddings."""

    name: Literal["deepfm"]
    hidden: Widths = (400, 400, 400)
    batch_norm: bool = False


class DLRMSpec(DeepSpec):
    """DLRM (arXiv 1906.00091): dot products of all pairs, then an MLP."""

    name: Literal["dlrm"]
    bottom: Widths = (512, 256)
    top: Widths = (512, 512)
    interaction: Literal["dot", "cat"] = "dot"
    batch_norm: bool = False


class DCNv2Spec(DeepFieldsSpec):
    """DCNv2 (arXiv 2008.13535): a cross network and an MLP."""

    name: Literal["dcnv2"]
    cross_layers: Depth = 3
    rank: Size | None = None
    """Rank of the cross matrices; absent: full."""
    structure: Literal["cross", "stacked", "parallel"] = "parallel"
    """`cross` has no MLP; `stacked` puts it on the cross network, `parallel` beside it."""
    hidden: Widths = (400, 400, 400)
    batch_norm: bool = False


class AutoIntSpec(DeepFieldsSpec):
    """AutoInt+ (arXiv 1810.11921): self-attention over embeddings, and an MLP."""

    name: Literal["autoint"]
    attention_layers: Depth = 3
    attention_width: Size = 64
    """Width of queries, keys and values, all heads together."""
    heads: Size = 2
    scale: bool = True
    """Divide the scores by the square root of a head's width."""
    residual: bool = True
    layer_norm: bool = False
    linear: bool = False
    """Add a linear model, one weight per feature value."""
    structure: Literal["parallel", "stacked"] = "parallel"
    """`parallel`: the MLP reads the embeddings, its logit is added. `stacked`: it reads the result of the
    attention and the embeddings."""
    hidden: Widths | None = (400, 400, 400)
    """Hidden layers of the MLP; null leaves it out (AutoInt without plus)."""
    batch_norm: bool = False
    """In the MLP."""
    value_hidden: Widths | None = None
    """Compute V by an MLP on the flattened input with these hidden layers, not by a linear map."""
    layer_hidden: Widths | None = None
    """Put an MLP on the flattened result of the attention, with these hidden layers."""
    pyramid: Size | None = None
    """Rows to which the result of the first layer is linearly compressed."""

    def _mistakes(self) -> Iterator[Mistake]:
        if self.structure == "stacked" and self.hidden is None:
            what = "`structure: stacked` needs `hidden`, the layers of its MLP"
            yield Mistake(what, ("hidden",), others=(("structure",),))
        if self.linear and self.bottom is not None:
            what = "`linear` needs a weight per numeric feature, which `bottom` does not leave"
            yield Mistake(what, ("linear",), others=(("bottom",),))
        if self.attention_width % self.heads:
            what = f"`heads` {self.heads} does not divide `attention_width` {self.attention_width}"
            yield Mistake(what, ("heads",), others=(("attention_width",),))


class AFNSpec(DeepFieldsSpec):
    """AFN+ (arXiv 1909.03276): products of learned powers of embeddings, and an MLP."""

    name: Literal["afn"]
    neurons: Size = 600
    """Logarithmic neurons, each one product of powers."""
    afn_hidden: Widths = (400,)
    """Hidden layers on the logarithmic neurons."""
    afn_dropout: DropoutRate = 0.0
    hidden: Widths | None = (400, 400, 400)
    """Hidden layers of the MLP beside them; null leaves it out (AFN without plus)."""
    own_embeddings: bool = True
    """Give that MLP embeddings of its own, as its paper does; false: both read the same ones."""
    batch_norm: bool = False
    """In both MLPs; the logarithmic layer always has it."""

    @property
    def needs_two_rows(self) -> bool:
        """The logarithmic layer has as many values per example as embeddings are wide."""
        return self.batch_norm or self.width == 1


class Stream(Spec):
    """One of FinalMLP's two MLPs; its last hidden layer enters the fusion."""

    hidden: Annotated[Widths, Field(min_length=1)] = (400,)
    dropout: DropoutRate = 0.0
    batch_norm: bool = True


class FeatureSelection(Spec):
    """FinalMLP's gates on the input of each stream."""

    hidden: Widths = (800,)
    """Hidden layers of both gates. Of a gate without context only the last bias learns, as in the published
    implementation; `[]` gives gates as able for fewer weights."""
    context1: tuple[str, ...] = ()
    """Features that steer the gate of the first stream, by name or pattern; none: a learned constant."""
    context2: tuple[str, ...] = ()
    """Those of the second stream; a feature may steer both."""

    def _mistakes(self) -> Iterator[Mistake]:
        for context in self.named_features:
            yield from named_twice(context)

    @property
    def named_features(self) -> tuple[list[Named], list[Named]]:
        """The features of each context, and the keys that name them."""
        first: list[Named] = [(name, ("context1", place)) for place, name in enumerate(self.context1)]
        second: list[Named] = [(name, ("context2", place)) for place, name in enumerate(self.context2)]
        return first, second


class FinalMLPSpec(FieldsSpec):
    """FinalMLP (arXiv 2304.00902): two MLP streams with gated inputs, fused by a bilinear form."""

    name: Literal["finalmlp"]
    mlp1: Stream = Stream()
    mlp2: Stream = Stream()
    heads: Size = 10
    """Pieces into which the stream outputs are cut for the bilinear form."""
    selection: FeatureSelection | None = FeatureSelection()
    """null leaves the gates out."""

    @property
    def needs_two_rows(self) -> bool:
        """BatchNorm stands in the streams."""
        return self.mlp1.batch_norm or self.mlp2.batch_norm

    def _mistakes(self) -> Iterator[Mistake]:
        for name, stream in (("mlp1", self.mlp1), ("mlp2", self.mlp2)):
            if stream.hidden[-1] % self.heads:
                what = f"`heads` {self.heads} does not divide the last width {stream.hidden[-1]} of `{name}`"
                yield Mistake(what, ("heads",), others=((name, "hidden"),))


class MaskNetSpec(DeepFieldsSpec):
    """MaskNet (arXiv 2102.07619): hidden layers multiplied by masks computed from the embeddings."""

    name: Literal["masknet"]
    structure: Literal["serial", "parallel"] = "parallel"
    """`serial`: a chain of blocks with the widths of `hidden`. `parallel`: `blocks` blocks of
    `block_width` side by side, then an MLP with the widths of `hidden`."""
    hidden: Annotated[Widths, Field(min_length=1)] = (400, 400, 400)
    blocks: Depth = 3
    block_width: Size = 64
    reduction: PositiveFloat = 1.0
    """Width of a mask's hidden layer, relative to what it masks."""
    layer_norm: bool = True
    embedding_norm: bool = False
    """LayerNorm on each embedding before the first block; masks still read the raw ones."""


class XDeepFMSpec(DeepSpec):
    """xDeepFM (arXiv 1803.05170): compressed interaction network, linear model and MLP."""

    name: Literal["xdeepfm"]
    cin: Annotated[Widths, Field(min_length=1)] = (64,)
    """Rows made by each layer of the compressed interaction network."""
    hidden: Widths | None = (400, 400, 400)
    """Hidden layers of the MLP; null leaves it out."""
    batch_norm: bool = False


class MLPSpec(DeepSpec):
    """A plain MLP on the concatenated embeddings."""

    name: Literal["mlp"]
    hidden: Widths = (400, 400, 400)
    batch_norm: bool = False


AnyModelSpec = Annotated[
    WukongSpec
    | FMSpec
    | DeepFMSpec
    | DLRMSpec
    | DCNv2Spec
    | AutoIntSpec
    | AFNSpec
    | FinalMLPSpec
    | MaskNetSpec
    | XDeepFMSpec
    | MLPSpec,
    Field(discriminator="name"),
]
