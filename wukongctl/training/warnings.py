"""Warnings about runs that are useless or too good to be true.

Each rule is a function of the facts; its thresholds are here, with their reasons. A false alarm is as bad as
a missed one, so a rule does not warn of what chance or another warning explains.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from wukongctl.config.dataset import SplitName
from wukongctl.config.training import TrainingSpec
from wukongctl.data.manifest import Manifest, Split
from wukongctl.data.statistics import LEAK_AUC
from wukongctl.training.auc import Z95
from wukongctl.training.hints import (
    FEW_UPDATES,
    listed,
    more_updates,
    on_each,
    options,
    regularize,
    show,
    slower,
)
from wukongctl.training.metrics import METRICS
from wukongctl.training.run_facts import RunFacts, gather
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.run_record import RunResult, RunWarning

Code: TypeAlias = Literal[
    "leaking_feature",
    "near_perfect",
    "few_updates",
    "no_better_than_base_rate",
    "one_class",
    "few_positives",
    "few_negatives",
    "unseen_values",
    "overfit",
    "best_first",
    "still_improving",
    "miscalibrated",
]

RANKS = 0.6
"""From this AUC on, a model with predictions worse than the base rate is overconfident."""
PERFECT_AUC = 0.9999
"""Clicks are not this predictable, except from a column that was recorded after them."""
BY_CHANCE = 20
"""Rows per class from which on a perfect ranking is not chance."""
FEW_OF_A_CLASS = 200
"""With 200 positives an AUC of .75 is known to ± .035; models usually differ by a tenth of that."""
UNSEEN = 0.5
"""Increase over train in the out-of-vocabulary share: the feature is useless for most rows."""
JUMP = 0.2
"""Difference in the out-of-vocabulary share between the held-out splits: they are not alike."""
OVERFIT = 2.0
"""Ratio of the gain over the base rate in training to that on held-out rows. The training loss is a mean over
an epoch, with dropout, and so an overestimate."""
LEAST_GAP = 0.05
"""Smallest difference of the two gains, relative to the base rate's loss; smaller ones may be noise."""
WORTH = 1e-3
"""Smallest change of AUC, or relative change of LogLoss, that the literature calls a gain."""
NOISE = 0.1
"""Times 1/sqrt(rows of the rarer class): about the standard error between two evaluations of one model."""
SETTLING = 5.0
"""Factor on the smallest gain if the learning rate decays to zero: the last evaluation is best by design."""
MISCALIBRATED = 0.1
"""Largest deviation from 1 of the ratio of mean prediction to base rate."""
CHANCE = 2.0
"""Standard errors of the base rate that are attributed to chance."""


def warnings_of(
    folder: RunFolder,
    recipe: TrainingSpec,
    manifest: Manifest,
    result: RunResult,
    *,
    data: Path,
    by_updates: bool = True,
) -> list[RunWarning]:
    """The warnings of a finished run, for its result.json.

    `data` is the folder of prepared datasets, `by_updates` False for a model that is not trained by updates.
    Processes that write no folder get none.
    """
    if not folder.writes:
        return []
    lines = folder.metrics.read_text(encoding="utf-8").splitlines() if folder.metrics.is_file() else []
    records = [json.loads(line) for line in lines]
    return warnings(gather(recipe, manifest, result, records, by_updates=by_updates, data=data))


def warnings(facts: RunFacts) -> list[RunWarning]:
    """Every warning about a run, the most serious first."""
    return [warning for rule in RULES for warning in rule(facts)]


def leaking_feature(facts: RunFacts) -> Iterator[RunWarning]:
    """A feature that leaks the label."""
    features = facts.statistics.features if facts.statistics is not None else {}
    found = {name: each.auc for name, each in features.items() if each.auc and each.auc >= LEAK_AUC}
    if found:
        message = listed([f"`{name}` alone gives AUC {auc:.4f}" for name, auc in found.items()])
        names = listed([f"`{name}`" for name in found])
        hint = f"if known only after the label, remove {names} from the dataset recipe and prepare it again"
        yield _warning("leaking_feature", message, hint, features=found)


def near_perfect(facts: RunFacts) -> Iterator[RunWarning]:
    """A ranking that only leakage explains."""
    found = {
        name: auc
        for name in facts.held_out
        if (auc := facts.metrics[name].get("auc")) is not None
        and auc >= PERFECT_AUC
        and min(_classes(facts.splits[name])) >= BY_CHANCE
    }
    if found:
        message = f"{on_each('AUC is', found, '.5f')}: some feature almost certainly leaks the label"
        hint = f"{show(facts)} lists the AUC of each feature"
        yield _warning("near_perfect", message, hint, auc=found)


def few_updates(facts: RunFacts) -> Iterator[RunWarning]:
    """Too few updates to move the weights."""
    if facts.updates is None or not _hardly_moved(facts):
        return
    count = "1 update" if facts.updates == 1 else f"{facts.updates} updates"
    batches = f"{facts.examples:,} examples in batches of {facts.recipe.batch_size:,}"
    message = f"the whole run made only {count}: {batches}"
    yield _warning("few_updates", message, more_updates(facts), updates=facts.updates)


def no_better_than_base_rate(facts: RunFacts) -> Iterator[RunWarning]:
    """Predictions no better than the base rate."""
    found = {
        name: entropy
        for name in facts.held_out
        if (entropy := facts.metrics[name].get("normalized_entropy")) is not None and entropy >= 1
    }
    if not found:
        return
    message = (
        f"{on_each('normalized entropy is', found, '.4f')}: no better than predicting the share of positives"
    )
    ranks = min(facts.metrics[name].get("auc", 0.0) for name in found) >= RANKS
    hint = f"check the inputs with {show(facts)}"
    if _hardly_moved(facts):
        hint = more_updates(facts)
    elif ranks:
        hint = f"the ranking is useful, but predictions are overconfident: {regularize(facts)}"
    elif facts.updates is not None:
        hint += f", then try lower learning rates: {slower(facts.recipe)}"
    yield _warning("no_better_than_base_rate", message, hint, normalized_entropy=found)


def rare_classes(facts: RunFacts) -> Iterator[RunWarning]:
    """Held-out splits with too few rows of a class to measure AUC."""
    found: dict[Code, dict[SplitName, dict[str, float]]] = {}
    for name in facts.held_out:
        positives, negatives = _classes(facts.splits[name])
        numbers: dict[str, float] = {"rows": positives + negatives, "positives": positives}
        auc = facts.metrics[name].get("auc")
        if not (positives and negatives):
            found.setdefault("one_class", {})[name] = numbers
        elif min(positives, negatives) < FEW_OF_A_CLASS and auc is not None:
            numbers |= {"auc": auc, "auc_half_width": auc_half_width(auc, positives, negatives)}
            code: Code = "few_positives" if positives <= negatives else "few_negatives"
            found.setdefault(code, {})[name] = numbers
    for code, splits in found.items():
        classes = listed([_class_counts(name, numbers) for name, numbers in splits.items()])
        if code == "one_class":
            message = f"{classes}: there is no AUC"
            hint = "change `split` in the dataset recipe so that every split has both classes"
        else:
            message = f"{classes}, with 95 % intervals too wide to compare models"
            hint = f"give {listed(list(splits))} more rows in `split` of the dataset recipe"
        yield _warning(code, message, hint, splits=splits)


def unseen_values(facts: RunFacts) -> Iterator[RunWarning]:
    """Features that are out of vocabulary far more often in one split than in another."""
    features = facts.statistics.features if facts.statistics is not None else {}
    found = {name: each.unknown for name, each in features.items() if each.unknown and _jumps(each.unknown)}
    if not found:
        return
    name, shares = max(found.items(), key=lambda item: max(item[1].values()))
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    where = ", ".join(f"{share:.0%} of {split}" for split, share in shares.items())
    message = f"`{name}`{more} is out of vocabulary in {where}"
    hint = (
        "check that all rows spell its values alike, or change the split; leave it out if its values do not "
        f"recur: {show(facts)}"
    )
    yield _warning("unseen_values", message, hint, features={key: dict(found[key]) for key in found})


def overfit(facts: RunFacts) -> Iterator[RunWarning]:
    """A model far better on training rows than on held-out ones."""
    name = next((name for name in ("valid", "test") if name in facts.metrics), None)
    held_out = None if name is None else facts.metrics[name].get("normalized_entropy")
    if facts.train_loss is None or name is None or held_out is None or _hardly_moved(facts):
        return
    trained = _entropy(facts.splits["train"])
    if not trained:
        return
    gain, kept = 1 - facts.train_loss / trained, 1 - held_out
    if gain < OVERFIT * kept or gain - kept < LEAST_GAP:
        return
    logloss = facts.metrics[name]["logloss"]
    message = (
        f"training loss is {facts.train_loss:.4f}, {name} loss {logloss:.4f}: "
        f"only {max(kept, 0) / gain:.0%} of the gain over the base rate in training holds on {name}"
    )
    yield _warning(
        "overfit", message, regularize(facts),
        train_logloss=facts.train_loss, logloss={name: logloss}, gain={"train": gain, name: kept},
    )  # fmt: skip


def best_first(facts: RunFacts) -> Iterator[RunWarning]:
    """Training that got worse after its first evaluation."""
    seen, best = facts.validations, _best(facts)
    if len(seen) < 2 or best != 0 or _hardly_moved(facts):
        return
    first, last = seen[0], seen[-1]
    if _change(facts, last.value, first.value) < _worth(facts):
        return
    metric = facts.recipe.early_stopping.metric
    message = (
        f"valid {metric} was best at the first of {len(seen)} evaluations, {first.value:.4f} at step "
        f"{first.step:,}, and is {last.value:.4f} at the last"
    )
    hint = f"lower the learning rates: {slower(facts.recipe)}"
    yield _warning("best_first", message, hint, evaluations=len(seen), first=first.value, last=last.value)


def still_improving(facts: RunFacts) -> Iterator[RunWarning]:
    """Training of several epochs that ended while still improving.

    Evaluations within a single epoch cannot tell whether a second one would help.
    """
    seen, best = facts.validations, _best(facts)
    explained = _hardly_moved(facts) or _leaks(facts)
    if len(seen) < 2 or best != len(seen) - 1 or facts.passes <= 1 or explained:
        return
    before, last = seen[-2], seen[-1]
    gain = _change(facts, before.value, last.value)
    settling = facts.recipe.schedule.decay in ("linear", "cosine")
    if gain < _worth(facts) * (SETTLING if settling else 1):
        return
    metric, recipe = facts.recipe.early_stopping.metric, facts.recipe
    message = (
        f"valid {metric} was still improving at the end: {before.value:.4f}, then {last.value:.4f} at the "
        f"last of {len(seen)} evaluations"
    )
    longer = {"epochs": 2 * recipe.epochs}
    if recipe.max_examples is not None:
        longer["max_examples"] = 2 * facts.examples
    hint = f"train longer: {options(longer)}"
    yield _warning(
        "still_improving", message, hint, evaluations=len(seen), before=before.value, last=last.value
    )


def miscalibrated(facts: RunFacts) -> Iterator[RunWarning]:
    """Mean predictions off by more than a tenth, and by more than chance."""
    found = {} if _hardly_moved(facts) else {n: c for n in facts.held_out if (c := _calibration(facts, n))}
    if not found:
        return
    rates = {name: split.positives / split.rows for name, split in facts.splits.items()}
    message = on_each("the ratio of mean prediction to share of positives is", found, ".2f")
    hint = "do not use its predictions as probabilities; "
    if facts.updates is None or any(True for _ in overfit(facts)):
        hint += regularize(facts)
    else:
        hint += f"lower the learning rates, {slower(facts.recipe)}, or train longer"
    moved = [name for name, ratio in found.items() if _moved(rates["train"], rates[name], ratio)]
    if moved:
        shares = listed([f"{rates[name]:.3f} in {name}" for name in moved])
        message += f"; that share is {rates['train']:.3f} in train and {shares}"
        hint = f"the base rate changed: train on rows more like {moved[-1]}, or recalibrate the predictions"
    positives = {name: rates[name] for name in ("train", *found)}
    yield _warning("miscalibrated", message, hint, calibration=found, positives=positives)


RULES: tuple[Callable[[RunFacts], Iterator[RunWarning]], ...] = (
    leaking_feature,
    near_perfect,
    few_updates,
    no_better_than_base_rate,
    rare_classes,
    unseen_values,
    overfit,
    best_first,
    still_improving,
    miscalibrated,
)
"""The most serious first."""


def auc_half_width(auc: float, positives: int, negatives: int) -> float:
    """Half the 95 % interval of an AUC; close to DeLong's, which needs all scores.

    Hanley and McNeil 1982 (doi:10.1148/radiology.143.1.7063747), for scores that are normal in each class.
    """
    from scipy.special import ndtri, owens_t

    pair = auc - 2 * float(owens_t(ndtri(auc), 3**-0.5))  # one row beats two of the other class
    spread = (positives + negatives - 2) * (pair - auc**2)
    return Z95 * math.sqrt(max(0.0, auc * (1 - auc) + spread) / (positives * negatives))


def _warning(code: Code, message: str, hint: str, **numbers: object) -> RunWarning:
    return RunWarning.model_validate({"code": code, "message": message, "hint": hint, **numbers})


def _hardly_moved(facts: RunFacts) -> bool:
    """Whether the weights hardly changed, which explains most other warnings."""
    return facts.updates is not None and facts.updates < FEW_UPDATES


def _leaks(facts: RunFacts) -> bool:
    """Whether a feature leaks the label."""
    return any(True for rule in (leaking_feature, near_perfect) for _ in rule(facts))


def _classes(split: Split) -> tuple[int, int]:
    return split.positives, split.rows - split.positives


def _class_counts(name: SplitName, numbers: Mapping[str, float]) -> str:
    """`valid has 48 positives in 5,000 rows: AUC 0.633 ± 0.085`."""
    rows, positives = int(numbers["rows"]), int(numbers["positives"])
    if "auc" not in numbers:
        return f"every label of {name} is {int(positives > 0)}"
    count, what = min((positives, "positive"), (rows - positives, "negative"))
    measured = f"(AUC {numbers['auc']:.3f} ± {numbers['auc_half_width']:.3f})"
    return f"{name} has {count} {what}{'s' * (count != 1)} in {rows:,} rows {measured}"


def _entropy(split: Split) -> float:
    rate = split.positives / split.rows
    return -(rate * math.log(rate) + (1 - rate) * math.log1p(-rate)) if 0 < rate < 1 else 0.0


def _jumps(unknown: Mapping[SplitName, float]) -> bool:
    held_out = [share for name, share in unknown.items() if name != "train"]
    unlike = max(held_out, default=0.0) - min(held_out, default=0.0) >= JUMP
    return unlike or max(held_out, default=0.0) - unknown.get("train", 0.0) >= UNSEEN


def _change(facts: RunFacts, before: float, after: float) -> float:
    """How much better `after` is: absolute for AUC, where higher is better, and relative for LogLoss."""
    metric = METRICS[facts.recipe.early_stopping.metric]
    gain = metric.gain(before, after)
    if metric.higher_is_better:
        return gain
    return gain / before if before else 0.0


def _worth(facts: RunFacts) -> float:
    return max(WORTH, NOISE / math.sqrt(max(1, min(_classes(facts.splits["valid"])))))


def _best(facts: RunFacts) -> int | None:
    """Index of the best evaluation, the first of ties."""
    values = [each.value for each in facts.validations]
    return METRICS[facts.recipe.early_stopping.metric].index_of_best(values) if values else None


def _calibration(facts: RunFacts, name: SplitName) -> float | None:
    """The ratio of mean prediction to base rate, if it is off."""
    ratio, split = facts.metrics[name].get("calibration"), facts.splits[name]
    rate = split.positives / split.rows
    if ratio is None or abs(ratio - 1) <= MISCALIBRATED:
        return None
    error = math.sqrt(rate * (1 - rate) / split.rows)
    return ratio if abs(ratio - 1) * rate > CHANCE * error else None


def _moved(before: float, after: float, ratio: float) -> bool:
    """Whether the base rate changed enough, in the direction in which the predictions are off."""
    return (
        before > 0 < after
        and (before / after - 1) * (ratio - 1) > 0
        and abs(before / after - 1) > MISCALIBRATED
    )
