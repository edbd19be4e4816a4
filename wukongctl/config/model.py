"""Model pages of a training recipe; the symbols are the paper's (arXiv 2403.02545)."""

from typing import Annotated, Literal

from pydantic import Field

from wukongctl.config.spec import Fraction, PositiveFloat, PositiveInt, Spec

Widths = tuple[PositiveInt, ...]


class ModelSpec(Spec):
    """What every model needs."""

    width: PositiveInt = 16
    """Embedding width d."""
    embedding_init: PositiveFloat | None = None
    """Standard deviation of new embeddings; width^-1/2 when absent. Tiny values starve the LayerNorm
    after the factorization machine."""
    dropout: Fraction = 0.0


class Attention(Spec):
    """How an attentive projection Y(X) is computed: W_c X, flattened, through an MLP, to n x k."""

    rows: PositiveInt = 8
    """Rows m of the linearly compressed input."""
    hidden: Widths = (64,)


class WukongSpec(ModelSpec):
    """Wukong: a stack of factorization machine and linear compress blocks."""

    name: Literal["wukong"]
    layers: PositiveInt = 2
    n_F: PositiveInt = 8  # noqa: N815
    """Embeddings made by the factorization machine block of each layer."""
    n_L: PositiveInt = 8  # noqa: N815
    """Embeddings made by the linear compress block of each layer."""
    k: PositiveInt = 8
    """Columns of the projection Y in X Xᵀ Y; unused when `projection` is none."""
    projection: Literal["none", "static", "attentive"] = "static"
    attention: Attention = Attention()
    hidden: Widths = (128,)
    """Hidden layers of the MLP inside the factorization machine block."""
    bottom: Widths = (512, 256)
    """Hidden layers of the MLP that turns numeric features into embeddings."""
    dense_embeddings: PositiveInt = 1
    """Embeddings the bottom MLP yields."""
    head: Widths = (128,)
    """Hidden layers of the final MLP on the flattened stack output."""
    bias: bool = True
    """Biases in the MLPs of the factorization machine blocks."""


class DLRMSpec(ModelSpec):
    """DLRM (arXiv 1906.00091): dot products of all pairs, then an MLP."""

    name: Literal["dlrm"]
    bottom: Widths = (512, 256)
    top: Widths = (512, 512)
    interaction: Literal["dot", "cat"] = "dot"
    batch_norm: bool = False


class MLPSpec(ModelSpec):
    """A plain MLP on the concatenated embeddings."""

    name: Literal["mlp"]
    hidden: Widths = (400, 400, 400)
    batch_norm: bool = False


AnyModelSpec = Annotated[WukongSpec | DLRMSpec | MLPSpec, Field(discriminator="name")]
