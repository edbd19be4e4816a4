"""The records of a run: `run.json` before the first step, `result.json` at the end.

Keys are added, never renamed. Unknown keys, of newer versions, are kept when a file is rewritten; keys that
older versions did not write are optional.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from wukongctl.config.training import TrainingSpec
from wukongctl.errors import UsageError

FORMAT_VERSION = 1
INFO, RESULT = "run.json", "result.json"
OTHER_VERSION = "use the version of wukongctl that wrote it, or train again"

Gflop = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _number(value: object) -> int | float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise PydanticCustomError("number_type", "Input should be a valid number")
    return value


Number = Annotated[int | float, PlainValidator(_number)]
"""A union would name its members in errors."""
SplitMetrics: TypeAlias = dict[str, Number]
"""Metric → value, and the number of rows; undefined metrics are omitted."""
Status: TypeAlias = Literal["complete", "pruned", "diverged"]
"""`pruned`: a search stopped the run early."""


R = TypeVar("R", bound="_Record")


class _Record(BaseModel):
    """Plain values of a JSON file. Strict, except that unknown keys are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    def to_dict(self) -> dict[str, Any]:
        """The content of the file: the keys that were set, and unknown ones."""
        return self.model_dump(mode="json", exclude_unset=True)


class _Versioned(_Record):
    format_version: int


class TrainedOn(_Record):
    """The prepared dataset of a run."""

    dataset: str
    fingerprint: str
    bayes_logloss: dict[str, float] | None = None
    """Split → LogLoss of the true probabilities, if known."""


class Flops(_Record):
    """GFLOP per example; None for a model without FLOPs, such as LightGBM."""

    convention: str | None = None
    gflop_per_example: Gflop | None
    forward_gflop_per_example: Gflop | None = None


class Params(_Record):
    """Numbers of parameters; None for a model without parameters."""

    dense: int | None = None
    embedding: int | None = None


class ExecutionRecord(_Record):
    """Execution settings of a run: see `hardware.Execution`."""

    device: str | None = None
    threads: int
    precision: str
    compile: bool = False
    notes: list[str] = []


class RunInfo(_Record):
    """`run.json`: the inputs of a run."""

    format_version: int
    run: str
    """Name of the run folder at creation."""
    model: str
    curve: str | None = None
    """Label that scaling reports group runs by; None means the model's name."""
    seed: int | None = None
    recipe: dict[str, Any]
    """The resolved recipe; see `training_spec`."""
    recipe_digest: str | None = None
    data: TrainedOn
    flops: Flops
    params: Params = Params()
    execution: ExecutionRecord | None = None
    code_digest: str | None = None
    versions: dict[str, str] = {}
    git: dict[str, Any] | None = None
    host: dict[str, Any] | None = None
    world_size: int | None = None
    argv: list[str] = []

    @property
    def curve_name(self) -> str:
        """The label of its curve."""
        return self.curve or self.model

    @property
    def gflop(self) -> float | None:
        """Training GFLOP per example; None for a model without FLOPs."""
        return self.flops.gflop_per_example

    @property
    def recipe_name(self) -> str:
        """The name of its recipe; `<data>-<model>` by default."""
        return self.recipe.get("name") or f"{self.data.dataset}-{self.model}"

    def bayes_logloss(self, split: str) -> float | None:
        """LogLoss of the true probabilities of a split, if known."""
        return (self.data.bayes_logloss or {}).get(split)

    def training_spec(self) -> TrainingSpec:
        """The recipe; raises ValueError if this version cannot read it."""
        return TrainingSpec.from_dict(self.recipe)


class RunWarning(_Record):
    """A warning about a run: a stable code, a message and a hint.

    Further keys have the numbers of the message, for programs.
    """

    code: str
    message: str
    hint: str = ""

    @property
    def numbers(self) -> dict[str, Any]:
        """The further keys."""
        return dict(self.model_extra or {})


class RunResult(_Record):
    """`result.json`: the outcome of a run."""

    status: Status
    step: int = 0
    """Updates made, or trees grown."""
    best_step: int | None = None
    selected_on: str | None = None
    """The metric that chose the weights, such as `valid auc`; None without a validation split."""
    trees: int | None = None
    examples: int = 0
    """Training examples seen, including repeats."""
    passes: float | None = None
    """Over the train split."""
    metrics: dict[str, SplitMetrics] = {}
    skipped_steps: int = 0
    seconds: float = 0.0
    examples_per_second: float | None = None
    train_seconds: float | None = None
    """Time of reading and updating, without evaluations, checkpoints and logging."""
    cpu_seconds: float | None = None
    """CPU time of reading and updating."""
    mfu: float | None = None
    gflops_per_second: float | None = None
    peak_gflops_per_second: float | None = None
    reason: str | None = None
    """Why it did not complete."""
    warnings: list[RunWarning] = []


def parse_info(text: str, path: Path) -> RunInfo:
    """Parse `run.json`; raises UsageError naming the file and the missing or wrong key."""
    version = _parse(_Versioned, text, path).format_version
    if version != FORMAT_VERSION:
        raise UsageError(
            f"`{path.parent}` has run format {version}; this version of wukongctl reads {FORMAT_VERSION}",
            hint=OTHER_VERSION,
        )
    return _parse(RunInfo, text, path)


def parse_result(text: str, path: Path) -> RunResult:
    """Parse `result.json`; raises UsageError naming the file and the missing or wrong key."""
    return _parse(RunResult, text, path)


def _parse(record: type[R], text: str, path: Path) -> R:
    try:
        return record.model_validate_json(text)
    except ValidationError as error:
        raise UsageError(
            _problem(error.errors()[0], path), hint="train this run again with `--force`"
        ) from None


def _problem(error: ErrorDetails, path: Path) -> str:
    key, kind = ".".join(map(str, error["loc"])), error["type"]
    if kind == "json_invalid":
        return f"cannot read `{path}`: {error['msg'][0].lower()}{error['msg'][1:]}"
    if not key:
        return f"`{path}` is not a JSON object"
    if kind == "missing":
        return f"`{path}` has no `{key}`"
    expected = error["msg"].removeprefix("Input ").replace("a valid dictionary", "an object")
    if kind == "model_type":
        expected = "should be an object"
    return f"`{path}`: `{key}` {expected}, not `{error['input']}`"
