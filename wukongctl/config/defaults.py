"""The default rules: what the keys that a recipe leaves open become, given its prepared dataset.

Every number of the rules is in this file. A rule sees the facts of the dataset and what the recipe says; it
is the same for every model, and a key that a model's section does not have is left out. How the numbers were
chosen: docs/results/2026-11-defaults.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from wukongctl.config.model import section_of
from wukongctl.config.model_section import ModelSpec
from wukongctl.config.training import TrainingSpec

UPDATES_PER_PASS = 250
SMALLEST_BATCH, LARGEST_BATCH = 64, 4096
EPOCHS = 8
"""With early stopping on the validation split."""
EPOCHS_UNWATCHED = 3
"""Without a validation split there is no early stopping."""
EPOCHS_OF_LARGE = ((10_000_000, 1), (1_000_000, 3))
"""Train rows above which fewer passes do, most rows first."""
PATIENCE = 3
"""Fewer passes than this without improvement are common while rates still fall."""
LARGE_TABLES = 200_000
"""Embedding rows from which Adam touches only those of a batch."""
LEARNING_RATE = 1e-3
EMBEDDING_RATE = 5e-3
EMBEDDING_L2 = 3e-4
EMBEDDING_INIT = 0.02
LOGIT_SCALE = 0.01
WIDTH = 16
DROPOUT = 0.1
ROWS_OF_TWO_LAYERS = 1_000_000
"""Train rows from which a second Wukong layer, interactions of order 4, has something to learn."""
ALL_PAIRS = 64
"""Embeddings up to which Wukong keeps all pairs: a projection would save little."""
ROWS_PER_VALUE = 200
"""Train rows per value of the largest feature below which Wukong's interactions stay narrow: most pairs of
such values occur once or never, and a block that keeps all of them memorizes instead of generalizing."""
WUKONG_ROWS = 16
"""Embeddings made by each of the two blocks of a Wukong layer."""
NARROW_ROWS = 8
"""Embeddings made by a factorization machine block whose interactions stay narrow."""
WUKONG_HIDDEN = 256
"""Width of the hidden layers of its blocks and of its head."""

SIZES = frozenset(f"model.{key}" for key in ("width", "layers", "projection", "n_F", "n_L", "hidden", "head"))
"""Keys of the rules that change what a model costs."""
SAVED = frozenset({"name", "curve", "max_examples", "evaluate_every", "threads"})
"""Keys that nobody writes all of, and every saved recipe has: nothing in it is open."""


@dataclass(frozen=True)
class DatasetFacts:
    """What the rules know of a prepared dataset."""

    train_rows: int
    valid_rows: int | None
    """None without a validation split."""
    cardinalities: tuple[int, ...]
    """Embedding rows of each categorical feature and each sequence."""
    numeric: int
    """Numeric features, however they are encoded."""
    sequences: int
    embedding_rows: int
    """Rows of all learned embedding tables together, those of numbers in bins included."""


class ChosenDefault(NamedTuple):
    """What a rule makes of one key, dotted as in `--set`, and why in a few words."""

    key: str
    value: Any
    reason: str


Recipe = Mapping[str, Any]
"""The plain values of a recipe as its author wrote them."""


def choices(recipe: Recipe, facts: DatasetFacts) -> tuple[ChosenDefault, ...]:
    """The value of every key that the rules decide, whether the recipe says it or not; none for a model that
    the rules do not concern, such as one with defaults of its own."""
    section = _section(recipe)
    if section is None:
        return ()
    made = (*_model(), *_wukong(recipe, facts), *_optimizer(recipe, facts), *_schedule(facts))
    return tuple(choice for choice in made if _has(section, choice.key))


def fill(recipe: dict[str, Any], facts: DatasetFacts) -> None:
    """Put the rules' value at every key that `recipe` leaves open, in place."""
    for choice in choices(recipe, facts):
        *groups, key = choice.key.split(".")
        holder: Any = recipe
        for group in groups:
            holder = holder.setdefault(group, {}) if isinstance(holder, dict) else None
        if isinstance(holder, dict):
            holder.setdefault(key, choice.value)


def is_open(recipe: Recipe) -> bool:
    """Whether the rules fill what `recipe` does not say."""
    return recipe.get("defaults", "rules") == "rules" and not set(recipe) >= SAVED


def open_sizes(recipe: Recipe) -> list[str]:
    """Keys left to the rules that on some dataset make the model another size than the constants do."""
    section = _section(recipe)
    if section is None or not is_open(recipe):
        return []
    small = DatasetFacts(1_000, 100, (2,), 0, 0, 2)
    extremes = (small, replace(small, train_rows=10**9, embedding_rows=10**9, cardinalities=(10**9,)))
    found = [choice for facts in extremes for choice in choices(recipe, facts) if choice.key in SIZES]
    constant = {f"model.{name}": field.default for name, field in section.model_fields.items()}
    found = [choice for choice in found if _at(recipe, choice.key) is None]
    return sorted({choice.key for choice in found if choice.value != constant[choice.key]})


def _model() -> Iterator[ChosenDefault]:
    """The model's section: only what all models share."""
    yield ChosenDefault("model.width", WIDTH, "embedding width")
    # A short run has no time to unlearn what random weights say.
    yield ChosenDefault("model.embedding_init", EMBEDDING_INIT, "small, so that rare values start near zero")
    yield ChosenDefault("model.logit_scale", LOGIT_SCALE, "first predictions near one half")
    yield ChosenDefault("model.dropout", DROPOUT, "of hidden layers")


def _wukong(recipe: Recipe, facts: DatasetFacts) -> Iterator[ChosenDefault]:
    """Depth, width and projection of a stack."""
    if _at(recipe, "model.name") != "wukong":
        return
    if not _has_lists_per_layer(recipe):
        layers = 1 if facts.train_rows < ROWS_OF_TWO_LAYERS else 2
        yield ChosenDefault("model.layers", layers, f"{facts.train_rows:,} train rows")
    narrow = facts.train_rows < ROWS_PER_VALUE * max(facts.cardinalities, default=0)
    made = NARROW_ROWS if narrow else WUKONG_ROWS
    yield ChosenDefault("model.n_F", made, "embeddings made by the factorization machine block")
    yield ChosenDefault("model.n_L", WUKONG_ROWS, "embeddings made by the linear compress block")
    yield ChosenDefault("model.hidden", [WUKONG_HIDDEN], "of the factorization machine block")
    yield ChosenDefault("model.head", [WUKONG_HIDDEN], "of the final MLP")
    embeddings = len(facts.cardinalities) + bool(facts.numeric)
    if embeddings <= ALL_PAIRS and not narrow and _at(recipe, "model.k") is None:
        yield ChosenDefault("model.projection", "none", f"all pairs of {embeddings} embeddings")


def _has_lists_per_layer(recipe: Recipe) -> bool:
    """Whether some size of Wukong has an entry per layer, which fits one depth alone."""
    sizes = [_at(recipe, f"model.{key}") for key in ("n_F", "n_L", "k")]
    hidden = _at(recipe, "model.hidden")
    nested = isinstance(hidden, list) and any(isinstance(entry, list) for entry in hidden)
    return nested or any(isinstance(size, list) for size in sizes)


def _optimizer(recipe: Recipe, facts: DatasetFacts) -> Iterator[ChosenDefault]:
    yield ChosenDefault("optimizer.dense.lr", LEARNING_RATE, "Adam, for all weights outside embedding tables")
    name, reason = _embedding_optimizer(recipe, facts)
    # Rates belong to an optimizer: where the recipe names another one, its own constants hold.
    if _at(recipe, "optimizer.embedding.name") in (None, name):
        yield ChosenDefault("optimizer.embedding.name", name, reason)
        if name != "rowwise_adagrad":
            yield ChosenDefault(
                "optimizer.embedding.lr", EMBEDDING_RATE, "rare values need a few large steps"
            )
            yield ChosenDefault(
                "optimizer.embedding.l2", EMBEDDING_L2, "keeps embeddings of rare values small"
            )


def _embedding_optimizer(recipe: Recipe, facts: DatasetFacts) -> tuple[str, str]:
    """The most thorough optimizer that the tables, and what the recipe says of them, allow."""
    if _at(recipe, "distributed.embeddings") not in (None, "replicated"):
        return "rowwise_adagrad", "the one for sharded tables"
    if _at(recipe, "embedding_dtype") == "bfloat16":
        return "lazy_adam", "tables are in bfloat16"
    if facts.embedding_rows >= LARGE_TABLES:
        return "lazy_adam", f"touches only a batch's rows of the {facts.embedding_rows:,}"
    return "adam", f"cheap enough with {facts.embedding_rows:,} embedding rows"


def _schedule(facts: DatasetFacts) -> Iterator[ChosenDefault]:
    yield ChosenDefault("schedule.decay", "linear", "to zero at the last step")
    yield _batch_size(facts)
    yield _epochs(facts)
    if facts.valid_rows is not None:
        yield ChosenDefault(
            "early_stopping.metric", "auc", "of the validation split; the best weights are kept"
        )
        yield ChosenDefault("early_stopping.patience", PATIENCE, "passes without improvement before stopping")


def _batch_size(facts: DatasetFacts) -> ChosenDefault:
    """The largest power of two that still gives enough updates per pass."""
    size = LARGEST_BATCH
    while size > SMALLEST_BATCH and facts.train_rows < UPDATES_PER_PASS * size:
        size //= 2
    while facts.train_rows % size == 1 and facts.train_rows > 1:  # batch norm needs two rows
        size += 1
    updates = -(-facts.train_rows // size)
    return ChosenDefault("batch_size", size, f"{updates:,} update{'s' * (updates != 1)} per pass")


def _epochs(facts: DatasetFacts) -> ChosenDefault:
    """Few passes where rows are many: the first ones teach most of what there is."""
    rows = f"{facts.train_rows:,} train rows"
    for above, passes in EPOCHS_OF_LARGE:
        if facts.train_rows > above:
            return ChosenDefault("epochs", passes, f"{rows}: few passes do")
    if facts.valid_rows is None:
        return ChosenDefault("epochs", EPOCHS_UNWATCHED, "no validation split for early stopping")
    return ChosenDefault("epochs", EPOCHS, "at most; early stopping ends it sooner")


def _section(recipe: Recipe) -> type[ModelSpec] | None:
    """The section of the recipe's model, if the rules concern it."""
    section = section_of(str(_at(recipe, "model.name")))
    return section if section is not None and issubclass(section, ModelSpec) else None


def _has(section: type[ModelSpec], key: str) -> bool:
    """Whether a recipe with this model's section knows the key."""
    group, _, rest = key.partition(".")
    return rest in section.model_fields if group == "model" else group in TrainingSpec.model_fields


def _at(recipe: Recipe, key: str) -> Any:
    """What the recipe says at a dotted key; None where it says nothing."""
    value: Any = recipe
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
