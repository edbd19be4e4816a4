"""What the sections of all models have in common."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from wukongctl.config.dimensions import Space
from wukongctl.config.spec import Mistake, PositiveFloat, Spec

Size = Annotated[int, Field(gt=0, le=1 << 20)]
"""A width or a number of rows, vectors or heads; a typing error should not ask for all memory."""
Depth = Annotated[int, Field(gt=0, le=1000)]
DropoutRate = Annotated[float, Field(ge=0, le=0.999)]
Widths = tuple[Size, ...]

Named: TypeAlias = tuple[str, tuple[str | int, ...]]
"""A feature, or a pattern of features, and the key of a section that names it."""


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
    """Embedding width."""
    embedding_init: PositiveFloat | None = None
    """Standard deviation of initial embeddings; width^-1/2 when omitted."""
    logit_scale: PositiveFloat = 1.0
    """Factor on the initial weights of the last layer; a small one starts predictions near one half. Does
    not affect the pair sums of `fm` and `deepfm`, which have no weights."""

    @model_serializer(mode="wrap")
    def _without_default_scale(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Recipes written before `logit_scale` keep their digests, hence their run folders."""
        content = serialize(self)
        if self.logit_scale == 1.0:
            content.pop("logit_scale", None)
        return content

    has_last_layer: ClassVar[bool] = True
    """Whether weights make the logit, so that `logit_scale` has something to scale."""

    @classmethod
    def network(cls) -> type[Any]:
        """Of a section in another package: its `wukongctl.models.Model`, imported here as that imports torch.

        `wukongctl.models.MODELS` has those of this package.
        """
        raise NotImplementedError(f"`{cls.__name__}` has no `network`")

    def search_space(self) -> Space:
        """What `tune` varies beside the keys that all models have, by key of this section."""
        return {}

    @property
    def sums_over_width(self) -> bool:
        """Whether products of embeddings are summed over their width, unscaled: the sums grow with it."""
        return False

    @property
    def needs_two_rows(self) -> bool:
        """Whether a batch of one row leaves a BatchNorm without a variance."""
        return getattr(self, "batch_norm", False)


class FieldsSpec(ModelSpec):
    """A model for which a numeric feature is an embedding like any other."""

    bottom: Widths | None = None
    """Hidden layers of an MLP that turns all numeric features into one embedding; when omitted, each is an
    embedding x_j w_j."""


class DeepSpec(ModelSpec):
    """A model with hidden layers."""

    dropout: DropoutRate = 0.0
    """Dropout probability."""


class DeepFieldsSpec(DeepSpec, FieldsSpec):
    """A model with hidden layers for which a numeric feature is an embedding like any other."""
