"""The training recipe: which data, which model, how to optimise, when to stop."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from wukongctl.config.dataset import Identifier
from wukongctl.config.gbdt import LightGBMSpec
from wukongctl.config.model import AnyModelSpec
from wukongctl.config.spec import Fraction, Mistake, NonNegativeFloat, PositiveFloat, PositiveInt, Spec

Beta = Annotated[float, Field(ge=0, lt=1)]


Precision = Literal["float32", "bfloat16"]
NETWORK_KEYS: dict[str, str | None] = {
    "optimizer": "a tree has no weights to update: see `model.learning_rate`",
    "schedule": "`model.learning_rate` is the same for all trees",
    "batch_size": "each tree sees all rows: see `model.bagging_fraction`",
    "accumulate": "there are no batches",
    "epochs": "the number of trees is `model.num_iterations`",
    "checkpoint": "an interrupted run starts again",
    "divergence": "trees do not diverge",
    "distributed": "it trains in one process",
    "precision": None,
    "embedding_dtype": None,
    "compile": None,
}
"""Keys of a training recipe that say nothing to LightGBM, and what does."""


class Adam(Spec):
    """Adam on dense gradients. For embeddings this touches every row at every step: right for small
    tables, where it also regularises rows that a batch does not use."""

    name: Literal["adam"] = "adam"
    lr: PositiveFloat = 1e-3
    """Learning rate."""
    # Not strict: the validator below hands pydantic Python values, where a list would be refused.
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.9, 0.999)
    """Decay of the running mean of gradients, and of their squares."""
    eps: PositiveFloat = 1e-8
    """Added to the root of the squares."""
    l2: NonNegativeFloat = 0.0
    """λ of the penalty λ/2 ‖W‖², added to the gradient."""


class RowwiseAdagrad(Spec):
    """AdaGrad with one accumulator per embedding row, on sparse gradients (the paper's choice)."""

    name: Literal["rowwise_adagrad"] = "rowwise_adagrad"
    lr: PositiveFloat = 1e-2
    """Learning rate."""
    eps: PositiveFloat = 1e-8
    """Added to the root of the accumulator."""
    l2: NonNegativeFloat = 0.0
    """λ of the penalty λ/2 ‖w‖² on the rows that a batch uses; other rows do not shrink."""


class LazyAdam(Spec):
    """Adam on the embedding rows that a batch uses: the moments of other rows stand still, so it is another
    algorithm than Adam, at a cost that does not grow with the table."""

    name: Literal["lazy_adam"] = "lazy_adam"
    lr: PositiveFloat = 1e-3
    """Learning rate."""
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.9, 0.999)
    """Decay of the running mean of gradients, and of their squares, per use of a row."""
    eps: PositiveFloat = 1e-8
    """Added to the root of the squares."""
    l2: NonNegativeFloat = 0.0
    """λ of the penalty λ/2 ‖w‖² on the rows that a batch uses; other rows do not shrink."""


class OptimizerSpec(Spec):
    """Dense weights and embeddings learn at separate rates."""

    dense: Adam = Adam()
    """For all weights outside embedding tables."""
    embedding: Annotated[RowwiseAdagrad | LazyAdam | Adam, Field(discriminator="name")] = RowwiseAdagrad()
    """For embedding tables."""
    clip_norm: PositiveFloat | None = None
    """Largest norm of the dense gradient; larger ones are scaled down."""

    @field_validator("embedding", mode="before")
    @classmethod
    def _default_name(cls, value: object) -> object:
        """`embedding: {lr: 0.1}` means the default optimiser."""
        return {"name": "rowwise_adagrad", **value} if isinstance(value, dict) else value


class ScheduleSpec(Spec):
    """How both learning rates change over the run."""

    warmup: Fraction = 0.0
    """Share of all steps over which rates rise linearly from zero."""
    decay: Literal["none", "linear", "cosine", "plateau"] = "none"
    """`plateau` multiplies by `factor` whenever the watched metric does not improve."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """What `plateau` multiplies the rates by."""
    min_factor: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Rates never fall below this share of their recipe value."""


class EarlyStopping(Spec):
    """Stop when a validation metric no longer improves; the best weights are kept either way. LightGBM keeps
    all its trees unless there is a `patience`."""

    metric: Literal["auc", "logloss"] = "logloss"
    """The validation metric that is watched; its best weights are kept."""
    patience: PositiveInt | None = None
    """Evaluations without improvement before stopping; absent: train to the end."""
    min_delta: NonNegativeFloat = 1e-6
    """Smaller changes are no improvement."""


class DivergenceSpec(Spec):
    """When a run counts as lost. A loss that is not finite always does, once no step may be skipped."""

    max_loss: PositiveFloat = 10.0
    """Mean training loss, over a logging interval of ten steps or more, above which the run has exploded."""
    skip_steps: Annotated[int, Field(ge=0)] = 0
    """Updates in a row that may be left out because their loss or gradient is not finite."""


class DistributedSpec(Spec):
    """How `torchrun` spreads a run over its processes; a single process ignores it."""

    dense: Literal["ddp", "fsdp"] = "ddp"
    """`ddp`: each process holds all dense weights; `fsdp`: a share of them (FSDP2), for the biggest."""
    embeddings: Literal["replicated", "row_wise", "table_wise", "column_wise", "planner"] = "replicated"
    """`replicated`: each process holds all tables, and gradients are exchanged. Otherwise TorchRec divides
    them: by rows, whole tables, by columns, or as its planner decides (extra `distributed`)."""


class CheckpointSpec(Spec):
    """How often progress is saved."""

    every_steps: PositiveInt | None = None
    """Steps between checkpoints, beside those by time; absent: by time alone."""
    every_seconds: PositiveFloat = 60.0
    """Seconds between checkpoints."""
    keep: PositiveInt = 2
    """How many of the newest stay."""


class TrainingSpec(Spec):
    """One training run, complete: the same recipe and seed give the same weights."""

    name: Identifier | None = None
    """Names the run folder; `<data>-<model>` when absent."""
    curve: str | None = None
    """Label that scale-report groups runs by; the model's name when absent."""
    data: Identifier
    """Name of a prepared dataset."""
    defaults: Literal["rules", "fixed"] = Field(default="rules", exclude=True)
    """What absent keys become: `rules` sizes them to the prepared dataset, `fixed` takes the constants of
    this page. It is not kept: a run is known by what its keys became."""
    model: AnyModelSpec
    """Which model, and its sizes."""
    optimizer: OptimizerSpec = OptimizerSpec()
    """How weights are updated."""
    schedule: ScheduleSpec = ScheduleSpec()
    """How learning rates change over the run."""
    batch_size: PositiveInt = 4096
    """Examples per update."""
    accumulate: PositiveInt = 1
    """Process each batch in this many pieces and add up their gradients: less memory, the same update
    (but for batch norm, which sees pieces)."""
    epochs: PositiveInt = 1
    """Passes over the train split."""
    max_examples: PositiveInt | None = None
    """Stop after exactly this many training examples, for data scaling."""
    shuffle: bool = True
    """Read the train split in another random order in every epoch."""
    evaluate_every: PositiveInt | None = None
    """Steps between validations, or trees; absent: at the end of each epoch, or after every tree."""
    early_stopping: EarlyStopping = EarlyStopping()
    """What is watched on the validation split, and when to stop."""
    checkpoint: CheckpointSpec = CheckpointSpec()
    """How often progress is saved."""
    divergence: DivergenceSpec = DivergenceSpec()
    """When a run counts as lost."""
    distributed: DistributedSpec = DistributedSpec()
    """How several processes share a run."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Of first weights, dropout and the order of examples."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Processor threads; absent: as many as there are cores."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train: `auto` takes a GPU where torch finds one. Several processes train on processors."""
    precision: Precision = "float32"
    """`bfloat16`: matrix products in bfloat16 where the device has it; weights, logits, loss and
    optimisers stay float32."""
    embedding_dtype: Precision = "float32"
    """`bfloat16` halves the memory of embedding tables; their updates are computed in float32 and rounded
    stochastically. Not with the dense `adam` for embeddings."""
    compile: bool = False
    """Train through torch.compile, where there is a C++ compiler: it takes a quarter of a minute, less the
    next time, and pays in long runs in bfloat16."""

    @field_validator("defaults")
    @classmethod
    def _nothing_open(cls, _: str) -> str:
        """A recipe in memory has every key: two of the same content are equal, however they came by it."""
        return "rules"

    @model_serializer(mode="wrap")
    def _without_network_keys(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What LightGBM does not use is no part of its resolved recipe."""
        content = serialize(self)
        unused = set() if self.is_network else {*NETWORK_KEYS, "device"}
        return {key: value for key, value in content.items() if key not in unused}

    def _mistakes(self) -> Iterator[Mistake]:
        if not self.is_network:
            yield from self._lightgbm_mistakes()
            return
        if self.schedule.decay == "plateau" and self.epochs == 1 and self.evaluate_every is None:
            what = "`schedule.decay: plateau` needs several epochs or `evaluate_every`"
            yield Mistake(what, ("schedule", "decay"), others=(("epochs",), ("evaluate_every",)))
        if self.embedding_dtype == "bfloat16" and self.optimizer.embedding.name == "adam":
            what = "`embedding_dtype: bfloat16` needs `rowwise_adagrad` or `lazy_adam` embeddings"
            yield Mistake(what, ("embedding_dtype",), others=(("optimizer", "embedding", "name"),))
        if self.distributed.embeddings != "replicated":
            yield from self._sharded_mistakes()
        elif self.distributed.dense == "fsdp":
            what = "`distributed.dense: fsdp` needs sharded `distributed.embeddings`"
            yield Mistake(what, ("distributed", "dense"), others=(("distributed", "embeddings"),))

    def _lightgbm_mistakes(self) -> Iterator[Mistake]:
        """Keys that would promise something that LightGBM does not do."""
        for key, why in NETWORK_KEYS.items():
            if key in self.model_fields_set:
                yield Mistake(f"model `lightgbm` does not use `{key}`", (key,), why)
        if self.device == "cuda":
            yield Mistake("model `lightgbm` trains on processors", ("device",), "leave `device` out")

    def _sharded_mistakes(self) -> Iterator[Mistake]:
        """What tables that are spread over processes cannot do."""
        sharded, embedding = ("distributed", "embeddings"), self.optimizer.embedding
        if embedding.name != "rowwise_adagrad" or embedding.l2:
            what = "sharded `distributed.embeddings` need `optimizer.embedding: rowwise_adagrad` without `l2`"
            keys = [("optimizer", "embedding", key) for key in ("name", "l2")]
            yield Mistake(what, sharded, others=(("optimizer", "embedding"), *keys))
        if self.embedding_dtype != "float32":
            what = "sharded `distributed.embeddings` need `embedding_dtype: float32`"
            yield Mistake(what, sharded, others=(("embedding_dtype",),))
        if self.divergence.skip_steps:
            what = "`divergence.skip_steps` cannot undo updates of sharded embeddings"
            yield Mistake(what, ("divergence", "skip_steps"), others=(sharded,))

    @property
    def is_network(self) -> bool:
        """Whether torch trains it, in steps whose FLOPs can be counted."""
        return not isinstance(self.model, LightGBMSpec)

    @property
    def run_name(self) -> str:
        """First part of the run folder's name."""
        return self.name or f"{self.data}-{self.model.name}"

    @property
    def curve_name(self) -> str:
        """Label of the scaling curve this run belongs to."""
        return self.curve or self.model.name
