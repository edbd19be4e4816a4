"""Model sections of a training recipe: the baselines', and which one a section is."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from wukongctl.config import plugins
from wukongctl.config.dimensions import DEPTHS, DROPOUT, HIDDEN, LAYERS, WIDTHS, Space, Stack, Steps
from wukongctl.config.gbdt import LightGBMSpec
from wukongctl.config.mixers import RankMixerSpec, TokenMixerLargeSpec, UniMixerSpec
from wukongctl.config.model_section import (
    DeepFieldsSpec,
    DeepSpec,
    Depth,
    DropoutRate,
    FieldsSpec,
    ModelSpec,
    Named,
    Size,
    Widths,
    named_twice,
)
from wukongctl.config.spec import Mistake, PositiveFloat, Spec
from wukongctl.config.wukong import WukongSpec
from wukongctl.errors import UsageError


class FMSpec(ModelSpec):
    """FM (doi:10.1109/ICDM.2010.127): a linear model plus the dot products of all pairs."""

    name: Literal["fm"]
    has_last_layer: ClassVar[bool] = False

    @property
    def sums_over_width(self) -> bool:
        """The dot products of all pairs."""
        return True


class DeepFMSpec(DeepSpec):
    """DeepFM (arXiv 1703.04247): an FM and an MLP on the same embeddings."""

    name: Literal["deepfm"]
    hidden: Widths = (400, 400, 400)
    """Hidden layers of the MLP."""
    batch_norm: bool = False
    """Batch norm in the MLP."""

    @property
    def sums_over_width(self) -> bool:
        """The dot products of all pairs."""
        return True

    def search_space(self) -> Space:
        """The size of the MLP."""
        return {"hidden": HIDDEN}


class DLRMSpec(DeepSpec):
    """DLRM (arXiv 1906.00091): dot products of all pairs, then an MLP."""

    name: Literal["dlrm"]
    bottom: Widths = (512, 256)
    """Hidden layers of the MLP that turns all numeric features into one embedding."""
    top: Widths = (512, 512)
    """Hidden layers of the MLP on the interactions."""
    interaction: Literal["dot", "cat"] = "dot"
    """`dot`: dot products of all pairs of embeddings. `cat`: the embeddings, concatenated."""
    batch_norm: bool = False
    """Batch norm in both MLPs."""

    def search_space(self) -> Space:
        """The size of the top MLP."""
        return {"top": HIDDEN}

    @property
    def sums_over_width(self) -> bool:
        """The dot products of all pairs."""
        return self.interaction == "dot"


class DCNv2Spec(DeepFieldsSpec):
    """DCNv2 (arXiv 2008.13535): a cross network and an MLP."""

    name: Literal["dcnv2"]
    cross_layers: Depth = 3
    """Layers of the cross network."""
    rank: Size | None = None
    """Rank of the cross matrices; full when omitted. Above half of the input width, low rank costs more
    than full."""
    structure: Literal["cross", "stacked", "parallel"] = "parallel"
    """Place of the MLP: none (`cross`), after the cross network (`stacked`), or beside it (`parallel`)."""
    hidden: Widths = (400, 400, 400)
    """Hidden layers of the MLP; unused by `cross`."""
    batch_norm: bool = False
    """Batch norm in the MLP."""

    def search_space(self) -> Space:
        """Layers and rank of the cross network, and the size of the MLP."""
        space: Space = {"cross_layers": LAYERS}
        if self.rank is not None:
            space["rank"] = Steps((16, 32, 64, 128))
        return space if self.structure == "cross" else space | {"hidden": HIDDEN}


class AutoIntSpec(DeepFieldsSpec):
    """AutoInt+ (arXiv 1810.11921): self-attention over embeddings, and an MLP."""

    name: Literal["autoint"]
    attention_layers: Depth = 3
    """Number of self-attention layers."""
    attention_width: Size = 64
    """Width of queries, keys and values over all heads."""
    heads: Size = 2
    """Heads per layer; must divide `attention_width`."""
    scale: bool = True
    """Divide the scores by the square root of a head's width."""
    residual: bool = True
    """Residual connection around each layer, with a projection to its width."""
    layer_norm: bool = False
    """LayerNorm after the residual, before the ReLU."""
    linear: bool = False
    """Add a linear model, one weight per feature value."""
    structure: Literal["parallel", "stacked"] = "parallel"
    """`parallel`: the MLP reads the embeddings and its logit is added. `stacked`: it reads the output of
    the attention and the embeddings."""
    hidden: Widths | None = (400, 400, 400)
    """Hidden layers of the MLP; null for none (AutoInt)."""
    batch_norm: bool = False
    """Batch norm in the MLP."""
    value_hidden: Widths | None = None
    """Hidden layers of an MLP on the flattened input that computes V, instead of a linear map."""
    layer_hidden: Widths | None = None
    """Hidden layers of an MLP on the flattened output of each attention."""
    pyramid: Size | None = None
    """Number of rows to which the output of the first layer is compressed."""

    def search_space(self) -> Space:
        """Depth and width of the attention, and the size of the MLP."""
        widths = tuple(width for width in (16, 32, 64, 128) if width % self.heads == 0)
        space: Space = {"attention_layers": LAYERS}
        if widths:
            space["attention_width"] = Steps(widths)
        return space | _optional(self.hidden)

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
    """Number of logarithmic neurons (products of powers)."""
    afn_hidden: Widths = (400,)
    """Hidden layers after the logarithmic neurons."""
    afn_dropout: DropoutRate = 0.0
    """Dropout probability of these layers."""
    hidden: Widths | None = (400, 400, 400)
    """Hidden layers of the MLP; null for none (AFN)."""
    own_embeddings: bool = True
    """Separate embeddings for the MLP, as in the paper; false shares them."""
    batch_norm: bool = False
    """Batch norm in both MLPs; the logarithmic layer always has it."""

    def search_space(self) -> Space:
        """Neurons and the size of both MLPs."""
        neurons: Space = {"neurons": Steps((100, 200, 400, 800))}
        return neurons | {"afn_hidden": HIDDEN, "afn_dropout": DROPOUT} | _optional(self.hidden)

    @property
    def needs_two_rows(self) -> bool:
        """The logarithmic layer has as many values per example as embeddings are wide."""
        return self.batch_norm or self.width == 1


class Stream(Spec):
    """One of FinalMLP's two MLPs. Its last hidden layer is fused."""

    hidden: Annotated[Widths, Field(min_length=1)] = (400,)
    """Hidden layers; the last width must be divisible by `heads`."""
    dropout: DropoutRate = 0.0
    """Dropout probability."""
    batch_norm: bool = True
    """Batch norm before every ReLU."""


class FeatureSelection(Spec):
    """FinalMLP's gates on the input of each stream."""

    hidden: Widths = (800,)
    """Hidden layers of both gates. In a gate without context only the last bias learns, as published; `[]`
    is as expressive with fewer weights."""
    context1: tuple[str, ...] = ()
    """Features that control the gate of the first stream, by name or pattern; a learned constant if empty."""
    context2: tuple[str, ...] = ()
    """Features that control the gate of the second stream."""

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
    """The first stream."""
    mlp2: Stream = Stream()
    """The second stream."""
    heads: Size = 10
    """Number of heads of the bilinear fusion."""
    selection: FeatureSelection | None = FeatureSelection()
    """Gates on the input of each stream; null for none."""

    def search_space(self) -> Space:
        """Size and dropout of both streams, in widths that `heads` divides."""
        widths = Steps(tuple(self.heads * max(1, round(width / self.heads)) for width in WIDTHS.values))
        space: Space = {}
        for name in ("mlp1", "mlp2"):
            space |= {f"{name}.hidden": Stack(widths, DEPTHS), f"{name}.dropout": DROPOUT}
        return space

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
    """`serial`: a chain of blocks of widths `hidden`. `parallel`: `blocks` blocks of `block_width`, then an
    MLP of widths `hidden`."""
    hidden: Annotated[Widths, Field(min_length=1)] = (400, 400, 400)
    """Widths of the serial blocks, or of the MLP after parallel ones."""
    blocks: Depth = 3
    """Number of parallel blocks; unused by `serial`."""
    block_width: Size = 64
    """Width of each parallel block; unused by `serial`."""
    reduction: PositiveFloat = 1.0
    """Width of a mask's hidden layer, relative to what it masks."""
    layer_norm: bool = True
    """LayerNorm in every block, before the ReLU."""
    embedding_norm: bool = False
    """LayerNorm on the embeddings before the first block; masks read the raw ones."""

    def search_space(self) -> Space:
        """Widths, masks and parallel blocks."""
        space: Space = {"hidden": HIDDEN, "reduction": Steps((0.5, 1.0, 2.0, 3.0))}
        if self.structure == "serial":
            return space
        return space | {"blocks": LAYERS, "block_width": Steps((32, 64, 128, 256))}


class XDeepFMSpec(DeepSpec):
    """xDeepFM (arXiv 1803.05170): compressed interaction network, linear model and MLP."""

    name: Literal["xdeepfm"]
    cin: Annotated[Widths, Field(min_length=1)] = (64,)
    """Rows of each layer of the compressed interaction network."""
    hidden: Widths | None = (400, 400, 400)
    """Hidden layers of the MLP; null for none."""
    batch_norm: bool = False
    """Batch norm in the MLP."""

    def search_space(self) -> Space:
        """The size of the interaction network and of the MLP."""
        cin: Space = {"cin": Stack(Steps((16, 32, 64, 128)), DEPTHS)}
        return cin | _optional(self.hidden)

    @property
    def sums_over_width(self) -> bool:
        """The rows of the interaction network are summed over the width."""
        return True


class MLPSpec(DeepSpec):
    """A plain MLP on the concatenated embeddings."""

    name: Literal["mlp"]
    hidden: Widths = (400, 400, 400)
    """Hidden layers."""
    batch_norm: bool = False
    """Batch norm before every ReLU."""

    def search_space(self) -> Space:
        """The hidden layers."""
        return {"hidden": HIDDEN}


def _optional(hidden: Widths | None) -> Space:
    """Of an MLP that a recipe may leave out."""
    return {} if hidden is None else {"hidden": HIDDEN}


NetworkSpec = (
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
    | MLPSpec
    | RankMixerSpec
    | TokenMixerLargeSpec
    | UniMixerSpec
)
"""What torch trains, step by step, and what FLOPs are counted of."""
OWN_SECTIONS: Mapping[str, type[Spec]] = {
    get_args(section.model_fields["name"].annotation)[0]: section
    for section in (*get_args(NetworkSpec), LightGBMSpec)
}
"""Name of a model of this package → its section."""
AnyModelSpec = Annotated[
    NetworkSpec | LightGBMSpec, Field(discriminator="name"), plugins.OrPlugin(frozenset(OWN_SECTIONS))
]


def section_of(model: str) -> type[Spec] | None:
    """The section of a model, also of a plug-in; None if there is none, or the plug-in does not work."""
    if model in OWN_SECTIONS:
        return OWN_SECTIONS[model]
    try:
        return plugins.models()[model].section()
    except (KeyError, UsageError):  # reported where the recipe is read
        return None


def model_names() -> list[str]:
    """Names of all models, those of plug-ins last."""
    return [*OWN_SECTIONS, *(name for name in plugins.models() if name not in OWN_SECTIONS)]
