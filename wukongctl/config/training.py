"""The training recipe: which data, which model, how to optimize, when to stop."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from wukongctl.config.dataset import Identifier
from wukongctl.config.gbdt import LightGBMSpec
from wukongctl.config.model import AnyModelSpec
from wukongctl.config.spec import Fraction, Mistake, NonNegativeFloat, PositiveFloat, PositiveInt, Spec

Beta = Annotated[float, Field(ge=0, lt=1)]


Precision = Literal["float32", "tf32", "bfloat16"]
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
    "data_on": None,
    "readers": None,
    "cuda_graph": None,
}
"""Keys of a training recipe that say nothing to LightGBM, and what does."""
LATER_KEYS: dict[str, object] = {"group": None, "data_on": "auto", "readers": 1, "cuda_graph": False}
"""Keys that recipes did not always have, and what they meant then."""


class AdamSpec(Spec):
    """Adam on dense gradients. For embeddings it updates every row at every step: right for small tables,
    where it also regularizes rows that are not in the batch."""

    name: Literal["adam"] = "adam"
    lr: PositiveFloat = 1e-3
    """Learning rate."""
    # Not strict: the validator below hands pydantic Python values, where a list would be refused.
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.9, 0.999)
    """Decay rates of the running means of gradients and of their squares."""
    eps: PositiveFloat = 1e-8
    """Added to the denominator."""
    l2: NonNegativeFloat = 0.0
    """L2 penalty: λ of λ/2 ‖W‖², added to the gradient."""


class RowwiseAdagradSpec(Spec):
    """AdaGrad with one accumulator per embedding row, on sparse gradients (the paper's choice)."""

    name: Literal["rowwise_adagrad"] = "rowwise_adagrad"
    lr: PositiveFloat = 1e-2
    """Learning rate."""
    eps: PositiveFloat = 1e-8
    """Added to the denominator."""
    l2: NonNegativeFloat = 0.0
    """L2 penalty: λ of λ/2 ‖w‖² on the rows in the batch; other rows do not shrink."""


class LazyAdamSpec(Spec):
    """Adam on the embedding rows in the batch only. The moments of other rows do not decay, so it is not
    equivalent to Adam; its cost does not grow with the table."""

    name: Literal["lazy_adam"] = "lazy_adam"
    lr: PositiveFloat = 1e-3
    """Learning rate."""
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.9, 0.999)
    """Decay rates of the running means of gradients and of their squares, per use of a row."""
    eps: PositiveFloat = 1e-8
    """Added to the denominator."""
    l2: NonNegativeFloat = 0.0
    """L2 penalty: λ of λ/2 ‖w‖² on the rows in the batch; other rows do not shrink."""


class OptimizerSpec(Spec):
    """Dense weights and embedding tables have separate optimizers."""

    dense: AdamSpec = AdamSpec()
    """Optimizer of all weights outside embedding tables."""
    embedding: Annotated[RowwiseAdagradSpec | LazyAdamSpec | AdamSpec, Field(discriminator="name")] = (
        RowwiseAdagradSpec()
    )
    """Optimizer of embedding tables."""
    factors: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Factors on the dense learning rate, by the name of a weight such as `head.steps.0.weight`; 1 where
    omitted. `scale_rates` of a sweep writes them."""
    clip_norm: PositiveFloat | None = None
    """Clip the norm of the dense gradient to this value."""

    @model_serializer(mode="wrap")
    def _without_empty_factors(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Recipes without `factors` keep the digests they had before there was this key."""
        content = serialize(self)
        if not self.factors:
            content.pop("factors", None)
        return content

    @field_validator("embedding", mode="before")
    @classmethod
    def _default_name(cls, value: object) -> object:
        """`embedding: {lr: 0.1}` means the default optimizer."""
        return {"name": "rowwise_adagrad", **value} if isinstance(value, dict) else value


class ScheduleSpec(Spec):
    """How both learning rates change during training."""

    warmup: Fraction = 0.0
    """Fraction of all steps with linear warmup from zero."""
    decay: Literal["none", "linear", "cosine", "plateau"] = "none"
    """Decay of the learning rates. `plateau` multiplies them by `factor` when the early-stopping metric
    does not improve."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Factor of `plateau`."""
    min_factor: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Lower bound of the learning rates, as a fraction of their initial values."""


WatchedMetric: TypeAlias = Literal["auc", "logloss"]
"""The metrics that can choose weights and settings."""


class EarlyStopping(Spec):
    """Stop when a validation metric no longer improves. The best weights are kept either way; LightGBM
    keeps all trees unless `patience` is given."""

    metric: WatchedMetric = "logloss"
    """Validation metric to monitor."""
    patience: PositiveInt | None = None
    """Evaluations without improvement before stopping; never stops when omitted."""
    min_delta: NonNegativeFloat = 1e-6
    """Smaller changes do not count as improvement."""


class DivergenceSpec(Spec):
    """When a run counts as diverged. A loss that is not finite always counts, once `skip_steps` are used
    up."""

    max_loss: PositiveFloat = 10.0
    """Mean training loss above which a run counts as diverged, over a logging interval of at least ten
    steps."""
    skip_steps: Annotated[int, Field(ge=0)] = 0
    """Consecutive updates to skip at most when their loss or gradient is not finite."""


class DistributedSpec(Spec):
    """Multi-process training under `torchrun`; ignored by a single process."""

    dense: Literal["ddp", "fsdp"] = "ddp"
    """`ddp` replicates dense weights, `fsdp` shards them (FSDP2), for the largest models."""
    embeddings: Literal["replicated", "row_wise", "table_wise", "column_wise", "planner"] = "replicated"
    """Sharding of embedding tables. `replicated`: every process holds all tables and exchanges gradients.
    The others use TorchRec (extra `distributed`): by rows, whole tables, by columns, or as its planner
    decides."""


class CheckpointSpec(Spec):
    """When to write checkpoints."""

    every_steps: PositiveInt | None = None
    """Also write a checkpoint every this many steps."""
    every_seconds: PositiveFloat = 60.0
    """Seconds between checkpoints."""
    keep: PositiveInt = 2
    """Number of recent checkpoints to keep."""


class TrainingSpec(Spec):
    """One training run. The same recipe and seed give the same weights."""

    name: Identifier | None = None
    """Name of the run folder; `<data>-<model>` when omitted."""
    curve: str | None = None
    """Curve of `scale-report` that the run belongs to; the model's name when omitted."""
    data: Identifier
    """Name of a prepared dataset."""
    defaults: Literal["rules", "fixed"] = Field(default="rules", exclude=True)
    """How omitted keys are filled in: `rules` sizes them to the prepared dataset, `fixed` uses the defaults
    listed here. Not stored: the run folder has every key."""
    model: AnyModelSpec
    """Model and its hyperparameters."""
    optimizer: OptimizerSpec = OptimizerSpec()
    """Optimizers of dense weights and embedding tables."""
    schedule: ScheduleSpec = ScheduleSpec()
    """Learning rate schedule."""
    batch_size: PositiveInt = 4096
    """Examples per update."""
    accumulate: PositiveInt = 1
    """Gradient accumulation: split each batch into this many micro-batches. Less memory, the same update,
    except with batch norm."""
    epochs: PositiveInt = 1
    """Passes over the train split."""
    max_examples: PositiveInt | None = None
    """Stop after exactly this many training examples (for data scaling)."""
    shuffle: bool = True
    """Shuffle the train split differently in every epoch."""
    evaluate_every: PositiveInt | None = None
    """Steps (or trees) between validations; every epoch (or tree) when omitted."""
    group: str | None = None
    """Categorical column, such as a user, to measure gAUC by; no gAUC when omitted."""
    early_stopping: EarlyStopping = EarlyStopping()
    """Validation metric to monitor, and when to stop."""
    checkpoint: CheckpointSpec = CheckpointSpec()
    """When to write checkpoints."""
    divergence: DivergenceSpec = DivergenceSpec()
    """When a run counts as diverged."""
    distributed: DistributedSpec = DistributedSpec()
    """Multi-process training."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed for weight initialization, dropout and shuffling."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """CPU threads; one per physical core when omitted."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device; `auto` uses a GPU where torch finds one. Under torchrun, each process takes its own."""
    data_on: Literal["auto", "host", "device"] = "auto"
    """Where the train split lies while a GPU trains: in the host's memory, a batch at a time, or whole on the
    GPU; `auto` where it fits. The examples and their order are the same."""
    readers: Annotated[int, Field(ge=1, le=64)] = 1
    """Threads that decode Parquet. The examples and their order are the same."""
    precision: Precision = "float32"
    """`bfloat16` computes matrix products in bfloat16 where the device supports it, `tf32` in TensorFloat-32
    on a GPU that has it; weights, logits, loss and optimizers stay float32."""
    embedding_dtype: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16` halves the memory of embedding tables, with updates in float32 and stochastic rounding.
    Not with `adam` embeddings."""
    cuda_graph: bool = False
    """Run each step of a full batch as one CUDA graph, for small batches on a GPU. One process only."""
    compile: bool = False
    """Use torch.compile if there is a C++ compiler. Costs about 15 seconds, less with warm caches; pays off
    in long bfloat16 runs."""

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
        # A run without a key that came later is the same run as before there was this key.
        unused |= {key for key, default in LATER_KEYS.items() if getattr(self, key) == default}
        return {key: value for key, value in content.items() if key not in unused}

    def _mistakes(self) -> Iterator[Mistake]:
        if not self.is_network:
            yield from self._lightgbm_mistakes()
            return
        if self.accumulate > self.batch_size:
            what = f"`accumulate` splits a batch of {self.batch_size:,} into {self.accumulate:,} pieces"
            hint = f"write at most `{self.batch_size}`"
            yield Mistake(what, ("accumulate",), hint, others=(("batch_size",),))
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
            yield Mistake("model `lightgbm` trains on CPU only", ("device",), "leave `device` out")

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
