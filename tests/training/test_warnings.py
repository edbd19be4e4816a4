"""Every rule on planted facts, on both sides of its threshold, and on tiny runs."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.data.test_prepare import own, run
from wukongctl.config.loading import load
from wukongctl.config.training import TrainingSpec
from wukongctl.data.manifest import Manifest, Split
from wukongctl.data.statistics import FeatureStatistics, Statistics
from wukongctl.training.run_facts import RunFacts, Validation, gather
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.run_record import RunResult, RunWarning, parse_result
from wukongctl.training.train import train
from wukongctl.training.warnings import Code, auc_half_width, warnings, warnings_of

RECIPE: dict[str, Any] = {
    "data": "d",
    "model": {"name": "mlp", "hidden": [8]},
    "batch_size": 100,
    "epochs": 4,
}
TREES: dict[str, Any] = {"model": {"name": "lightgbm"}}
SMALLER = "grow smaller trees, `--set model.num_leaves=15 --set model.min_data_in_leaf=40`"
HEALTHY = {"auc": 0.75, "logloss": 0.5, "normalized_entropy": 0.85, "calibration": 1.02}


def split(rows: int, positives: int) -> Split:
    return Split(rows=rows, positives=positives, files=())


def facts(recipe: dict[str, Any] | None = None, **changes: Any) -> RunFacts:
    """A healthy run of four epochs over 10,000 rows, with `changes`; `valid` and `test` change metrics."""
    metrics = {name: HEALTHY | changes.pop(name, {}) for name in ("valid", "test")}
    healthy: dict[str, Any] = {
        "splits": {"train": split(10_000, 3_000), "valid": split(2_000, 600), "test": split(2_000, 600)},
        "statistics": None,
        "metrics": metrics,
        "examples": 40_000,
        "updates": 400,
        "validations": validations(0.55, 0.51, 0.5, 0.5001),
        "train_loss": 0.48,
    }
    base = {"data": "d"} if recipe and "model" in recipe else RECIPE
    return RunFacts(recipe=TrainingSpec.from_dict(base | (recipe or {})), **(healthy | changes))


def validations(*values: float) -> tuple[Validation, ...]:
    return tuple(Validation(100 * (i + 1), value) for i, value in enumerate(values))


def codes(given: RunFacts) -> list[str]:
    return [warning.code for warning in warnings(given)]


def statistics(**features: dict[str, Any]) -> Statistics:
    return Statistics(
        label_rate={"train": 0.3},
        features={name: FeatureStatistics(missing={}, **values) for name, values in features.items()},
    )


def test_healthy_run_has_no_warnings() -> None:
    assert warnings(facts()) == []


# --- each rule, on both sides --------------------------------------------------------------------------


def splits(**changes: Split) -> dict[str, Any]:
    """The splits of a healthy run, with changes."""
    return {"splits": facts().splits | changes}


def unknown(train: float, valid: float, test: float) -> dict[str, Any]:
    """A feature with these out-of-vocabulary shares."""
    return {"statistics": statistics(a={"unknown": {"train": train, "valid": valid, "test": test}})}


def alone(auc: float) -> dict[str, Any]:
    return {"statistics": statistics(a={"auc": auc})}


def seen(*values: float, **more: Any) -> dict[str, Any]:
    return {"validations": validations(*values), **more}


Changes = dict[str, Any]
BOUNDARIES: list[tuple[str, Changes, Changes]] = [
    ("few_updates", {"updates": 99}, {"updates": 100}),
    ("few_updates", {"updates": 1}, {"updates": None}),
    ("no_better_than_base_rate", {"test": {"normalized_entropy": 1.0}},
     {"test": {"normalized_entropy": 0.9999}}),
    ("no_better_than_base_rate", {"valid": {"normalized_entropy": 1.2}}, {}),
    ("few_positives", splits(test=split(2_000, 199)), splits(test=split(2_000, 200))),
    ("few_negatives", splits(test=split(2_000, 1_801)), splits(test=split(2_000, 1_800))),
    ("one_class", splits(test=split(2_000, 0)), splits(test=split(2_000, 1))),
    ("one_class", splits(valid=split(2_000, 2_000)), splits(valid=split(2_000, 1_999))),
    ("best_first", seen(0.5, 0.503), seen(0.5, 0.501)),
    ("still_improving", seen(0.503, 0.5), seen(0.501, 0.5)),
    ("still_improving", seen(0.56, 0.5), seen(0.56)),
    ("still_improving", seen(0.56, 0.5, examples=10_001), seen(0.56, 0.5, examples=10_000)),
    ("miscalibrated", {"test": {"calibration": 1.11}}, {"test": {"calibration": 1.099}}),
    ("miscalibrated", {"valid": {"calibration": 0.89}}, {"valid": {"calibration": 0.901}}),
    ("near_perfect", {"test": {"auc": 0.9999}}, {"test": {"auc": 0.99989}}),
    ("near_perfect", splits(test=split(900, 20)) | {"test": {"auc": 1.0}},
     splits(test=split(900, 19)) | {"test": {"auc": 1.0}}),
    ("leaking_feature", alone(0.98), alone(0.9799)),
    ("unseen_values", unknown(0.0, 0.5, 0.5), unknown(0.0, 0.49, 0.49)),
    ("unseen_values", unknown(0.6, 0.9, 0.7), unknown(0.6, 0.9, 0.71)),
]  # fmt: skip


@pytest.mark.parametrize(("code", "over", "under"), BOUNDARIES)
def test_every_rule_on_both_sides_of_its_threshold(code: str, over: Changes, under: Changes) -> None:
    assert code in codes(facts(**over))
    assert code not in codes(facts(**under))


def test_overfit_is_a_training_gain_lost_on_held_out_rows() -> None:
    entropy = -(0.3 * math.log(0.3) + 0.7 * math.log(0.7))  # of train's label
    kept = {"normalized_entropy": 0.9}  # valid is a tenth better than the base rate
    assert "overfit" in codes(facts(valid=kept, train_loss=entropy * 0.799))
    assert "overfit" not in codes(facts(valid=kept, train_loss=entropy * 0.801))
    barely = {"normalized_entropy": 0.999}
    assert "overfit" not in codes(facts(valid=barely, train_loss=entropy * 0.952))
    (found,) = warnings(facts(valid=kept, train_loss=entropy * 0.5))
    assert "only 20% of the gain" in found.message
    assert found.numbers["gain"] == pytest.approx({"train": 0.5, "valid": 0.1})


def test_a_watched_auc_is_better_when_higher() -> None:
    watched = {"early_stopping": {"metric": "auc"}}
    for values, code in (((0.7, 0.75), "still_improving"), ((0.75, 0.7), "best_first")):
        assert codes(facts(watched, validations=validations(*values))) == [code]
    assert codes(facts(watched, validations=validations(0.7, 0.75, 0.74))) == []


def test_small_validation_splits_require_larger_changes() -> None:
    """With 100 rows of the rarer class, two evaluations of one model differ by .01 by chance."""
    small = splits(valid=split(1_000, 100))
    assert "still_improving" not in codes(facts(**small, validations=validations(0.504, 0.5)))
    assert "still_improving" in codes(facts(**small, validations=validations(0.51, 0.5)))


def test_decay_to_zero_requires_a_larger_last_gain() -> None:
    for decay, expected in (("linear", []), ("cosine", []), ("plateau", ["still_improving"])):
        given = facts({"schedule": {"decay": decay}}, validations=validations(0.55, 0.51, 0.505))
        assert codes(given) == expected
    large = validations(0.6, 0.5)
    assert codes(facts({"schedule": {"decay": "linear"}}, validations=large)) == ["still_improving"]


def test_miscalibration_excludes_chance_and_names_a_changed_base_rate() -> None:
    tiny = splits(test=split(300, 90))
    assert "miscalibrated" not in codes(facts(**tiny, test={"calibration": 1.15}))
    moved = splits(test=split(2_000, 400))
    (found,) = warnings(facts(**moved, test={"calibration": 1.4}))
    assert found.message.endswith("1.40 on test; that share is 0.300 in train and 0.200 in test")
    assert "base rate changed" in found.hint
    (other,) = warnings(facts(**moved, test={"calibration": 0.7}))  # not in the direction of the base rate
    assert "base rate changed" not in other.hint


def test_few_updates_suppress_the_warnings_they_explain() -> None:
    bad = facts(
        updates=3,
        validations=validations(0.5, 0.7),
        train_loss=0.01,
        test={"normalized_entropy": 1.3, "calibration": 2.0},
    )
    assert codes(bad) == ["few_updates", "no_better_than_base_rate"]


def test_overconfident_predictions_hint_at_regularization() -> None:
    for auc, expected in (
        (0.6, "overconfident: regularize it"),
        (0.59, "then try lower learning rates: `--set opt"),
    ):
        (found,) = warnings(facts(test={"normalized_entropy": 1.01, "auc": auc}))
        assert expected in found.hint


def test_leakage_suppresses_still_improving() -> None:
    leaking = facts(statistics=statistics(a={"auc": 1.0}), validations=validations(0.5, 0.1))
    assert codes(leaking) == ["leaking_feature"]


def test_trees_have_only_the_rules_that_apply() -> None:
    changes = {"test": {"auc": 1.0, "normalized_entropy": 1.0}, "train_loss": None}
    given = facts(TREES, updates=None, validations=(), **changes)
    assert codes(given) == ["near_perfect", "no_better_than_base_rate"]
    hints = "".join(warning.hint for warning in warnings(given))
    assert not re.search("optimizer|batch_size|epochs|dropout", hints)
    for patience, hint in (
        (None, f"stop early, `--set early_stopping.patience=20`, or {SMALLER}"),
        (5, SMALLER),
    ):
        stopping = TREES | {"early_stopping": {"patience": patience}}
        (found,) = warnings(facts(stopping, updates=None, validations=(), train_loss=0.1))
        assert (found.code, found.hint) == ("overfit", hint)


@pytest.mark.parametrize("recipe", [None, TREES])
def test_hints_do_not_contradict_each_other(recipe: dict[str, Any] | None) -> None:
    """A model that is overfit and miscalibrated needs regularization, not longer training."""
    by_trees = {"updates": None, "validations": ()} if recipe else {}
    found = warnings(facts(recipe, train_loss=0.1, test={"calibration": 1.3}, **by_trees))
    assert [warning.code for warning in found] == ["overfit", "miscalibrated"]
    assert found[1].hint.endswith(found[0].hint)
    assert "longer" not in found[1].hint
    if recipe:
        assert not re.search(
            "optimizer|learning rate|epochs|pass", "".join(warning.hint for warning in found)
        )


def test_fewer_epochs_are_not_suggested_while_improving() -> None:
    improving = facts(train_loss=0.1, validations=validations(0.55, 0.53, 0.51, 0.5))
    assert not any("fewer epochs" in warning.hint for warning in warnings(improving))
    assert any("fewer epochs" in warning.hint for warning in warnings(facts(train_loss=0.1)))


def test_commands_name_the_folder_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, command in (
        (tmp_path / "data", "`wukongctl datasets show d`"),
        (tmp_path / "else where", f"`wukongctl datasets show d --data '{tmp_path}/else where'`"),
    ):
        found = warnings(facts(test={"auc": 1.0}, data=folder))
        assert command in found[0].hint


def test_run_without_held_out_splits_has_few_warnings() -> None:
    alone = {"splits": {"train": split(10_000, 3_000)}, "metrics": {}, "validations": ()}
    assert codes(facts(**alone)) == []
    assert codes(facts(**alone, updates=4)) == ["few_updates"]


def test_documented_codes_are_the_codes() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/warnings.md").read_text()
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    documented = [code for cell in cells for code in re.findall(r"`(\w+)`", cell)]
    assert sorted(documented) == sorted(get_args(Code))
    assert {code for code, _, _ in BOUNDARIES} | {"overfit"} == set(get_args(Code))


# --- numbers and hints ---------------------------------------------------------------------------------


def test_messages_and_numbers_agree() -> None:
    (found,) = warnings(facts(**splits(test=split(2_000, 199)), test={"auc": 0.7}))
    half = found.numbers["splits"]["test"]["auc_half_width"]
    assert f"test has 199 positives in 2,000 rows (AUC 0.700 ± {half:.3f})" in found.message
    assert found.to_dict()["code"] == "few_positives"
    features = statistics(
        a={"unknown": {"train": 0.0, "test": 0.7}}, b={"unknown": {"train": 0.0, "test": 0.9}}
    )
    (found,) = warnings(facts(statistics=features))
    assert found.message.startswith("`b` (and 1 more) is out of vocabulary in 0% of train, 90%")
    assert list(found.numbers["features"]) == ["a", "b"]


@pytest.mark.parametrize("auc", [0.6, 0.75, 0.9])
def test_auc_half_width_matches_the_spread_of_samples(auc: float) -> None:
    rng = np.random.default_rng(0)
    shift = {0.6: 0.358, 0.75: 0.954, 0.9: 1.812}[auc]  # of two normal classes with that AUC
    labels = np.arange(600) < 100
    drawn = [roc_auc_score(labels, rng.normal(size=600) + shift * labels) for _ in range(300)]
    assert np.mean(drawn) == pytest.approx(auc, abs=0.01)
    assert auc_half_width(auc, 100, 500) == pytest.approx(1.96 * np.std(drawn), rel=0.12)


@pytest.mark.parametrize(
    ("rows", "batch", "epochs"), [(4_000, 4_096, 1), (300, 64, 1), (90_000, 4_096, 2), (50, 16, 3)]
)
def test_hint_of_few_updates_yields_enough(rows: int, batch: int, epochs: int, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(RECIPE | {"batch_size": batch, "epochs": epochs}))
    recipe = load(path, TrainingSpec, [])
    updates = epochs * -(-rows // batch)
    given = facts(
        {"batch_size": batch, "epochs": epochs},
        **splits(train=split(rows, rows // 3)),
        examples=rows * epochs,
        updates=updates,
    )
    warning = next(warning for warning in warnings(given) if warning.code == "few_updates")
    settings = [word for word in warning.hint.strip("`").replace("`", " ").split() if "=" in word]
    better = load(path, TrainingSpec, settings)
    assert better != recipe
    assert better.epochs * -(-rows // better.batch_size) >= 100


def test_hint_of_few_updates_raises_patience() -> None:
    """On 200 rows: 13 updates per epoch in batches of 16, so 8 epochs for 100 updates."""
    stopping = {"batch_size": 64, "epochs": 3, "early_stopping": {"patience": 3}}
    small = splits(train=split(200, 60)) | {"examples": 600, "updates": 12}
    found = next(warning for warning in warnings(facts(stopping, **small)) if warning.code == "few_updates")
    patience = re.search(r"early_stopping\.patience=(\d+)", found.hint)
    assert patience is not None
    assert int(patience[1]) * 13 >= 100  # even if the first evaluation stays the best
    stopped = {"batch_size": 16, "epochs": 10, "early_stopping": {"patience": 3}}
    found = next(
        warning
        for warning in warnings(facts(stopped, **small | {"examples": 800, "updates": 52}))
        if warning.code == "few_updates"
    )
    assert "early_stopping.patience=8" in found.hint  # the other hints are already followed


def test_keys_in_hints_exist(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(RECIPE))
    every = [warning for _, over, _ in BOUNDARIES for warning in warnings(facts(**over))]
    every += warnings(facts(train_loss=0.1)) + warnings(
        facts({"max_examples": 40_000}, validations=validations(0.6, 0.5))
    )
    settings = {word.strip("`,:") for warning in every for word in warning.hint.split() if "=" in word}
    assert {setting.partition("=")[0] for setting in settings} >= {
        "batch_size", "epochs", "max_examples", "optimizer.dense.lr", "model.dropout",
    }  # fmt: skip
    for setting in settings:
        load(path, TrainingSpec, [setting])


def test_warnings_are_read_back_with_their_numbers() -> None:
    made = warnings(facts(**splits(test=split(2_000, 199)), updates=5))
    text = json.dumps({"status": "complete", "warnings": [warning.to_dict() for warning in made]})
    read = parse_result(text, Path("result.json")).warnings
    assert [warning.to_dict() for warning in read] == [warning.to_dict() for warning in made]
    assert [warning.numbers for warning in read] == [warning.numbers for warning in made] != [{}] * len(made)


# --- from a run's own record ---------------------------------------------------------------------------


def record(rows: int = 1000) -> tuple[TrainingSpec, Manifest, RunResult]:
    manifest = Manifest.model_construct(
        splits={"train": split(rows, 300), "valid": split(500, 200)}, statistics=None
    )
    result = RunResult(
        status="complete", metrics={"valid": HEALTHY}, examples=3 * rows, step=30, best_step=20
    )
    return TrainingSpec.from_dict(RECIPE), manifest, result


def test_training_loss_is_the_mean_of_the_best_epoch() -> None:
    recipe, manifest, result = record()
    losses = np.random.default_rng(0).random(30)
    lines = [
        {"step": step, "split": "train", "loss": float(losses[step - 5 : step].mean())}
        for step in range(5, 31, 5)
    ]
    lines += [{"step": step, "split": "valid", "logloss": 0.5 - step / 1e3} for step in (10, 20, 30)]
    found = gather(recipe, manifest, result, lines)
    assert found.train_loss == pytest.approx(losses[10:20].mean())
    assert found.validations == (Validation(10, 0.49), Validation(20, 0.48), Validation(30, 0.47))
    assert found.updates == 30
    assert gather(recipe, manifest, result.model_copy(update={"skipped_steps": 4}), lines).updates == 26
    trees = gather(recipe, manifest, result, lines, by_updates=False)
    assert (trees.updates, trees.validations) == (None, ())
    assert trees.train_loss == pytest.approx(losses[15:20].mean())  # what the line of the last tree kept says


def test_processes_without_a_folder_have_no_warnings(tmp_path: Path) -> None:
    recipe, manifest, result = record()
    assert warnings_of(RunFolder(tmp_path), recipe, manifest, result, data=tmp_path)
    assert warnings_of(RunFolder(tmp_path, writes=False), recipe, manifest, result, data=tmp_path) == []


# --- tiny runs -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`clicks`: 3,000 rows whose clicks depend on `a`; `leaky`: with `id`, present only if clicked."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    a = rng.integers(8, size=3000)
    click = rng.random(3000) < 0.15 + 0.1 * a
    lines = [
        f"{int(c)},v{v},{f'k{i % 97}' if c else ''}" for i, (c, v) in enumerate(zip(click, a, strict=True))
    ]
    (folder / "clicks.csv").write_text("\n".join(["label,a,id", *lines]) + "\n")
    ratio = {"by": "order", "ratio": {"train": 3, "valid": 1, "test": 1}}
    for name, columns in (("clicks", ["a"]), ("leaky", ["a", "id"])):
        features = [{"type": "categorical", "columns": columns}]
        run(own(name=name, split=ratio, features=features), folder, folder)
    return folder


@pytest.fixture
def trained(data: Path, tmp_path: Path) -> Callable[..., dict[str, RunWarning]]:
    """Train with these keys; the warnings of the run by code."""

    def run_of(**keys: Any) -> dict[str, RunWarning]:
        recipe = TrainingSpec.from_dict(RECIPE | {"threads": 1, "model": {"name": "fm", "width": 4}} | keys)
        outcome = train(recipe, data=data, out=tmp_path, report=lambda _: None)
        written = RunFolder(outcome.folder).result()
        assert written is not None
        assert [w.to_dict() for w in written.warnings] == [w.to_dict() for w in outcome.result.warnings]
        return {warning.code: warning for warning in written.warnings}

    return run_of


FAST = {"optimizer": {"dense": {"lr": 0.03}, "embedding": {"name": "adam", "lr": 0.03}}}


def test_healthy_tiny_run_has_no_warnings(trained: Callable[..., dict[str, RunWarning]]) -> None:
    assert trained(data="clicks", batch_size=64, epochs=5, **FAST) == {}


def test_single_update_is_few_updates(trained: Callable[..., dict[str, RunWarning]]) -> None:
    found = trained(data="clicks", batch_size=4096, epochs=1, name="one")
    assert (
        found["few_updates"].message == "the whole run made only 1 update: 1,800 examples in batches of 4,096"
    )


def test_too_high_learning_rates_are_worse_than_the_base_rate(
    trained: Callable[..., dict[str, RunWarning]],
) -> None:
    wild = {"dense": {"lr": 5.0}, "embedding": {"name": "adam", "lr": 5.0}}
    found = trained(data="clicks", batch_size=16, epochs=1, optimizer=wild)
    assert "no_better_than_base_rate" in found
    assert "few_updates" not in found


def test_leakage_is_found_by_feature_and_by_metric(
    trained: Callable[..., dict[str, RunWarning]],
) -> None:
    found = trained(data="leaky", batch_size=32, epochs=3, **FAST)
    assert set(found) == {"leaking_feature", "near_perfect"}
    assert found["leaking_feature"].numbers == {"features": {"id": 1.0}}


def test_following_the_hint_of_few_updates_removes_the_warning(tmp_path: Path) -> None:
    lines = [f"{int(i * 7 % 10 < 4)},v{i % 8}" for i in range(200)]
    (tmp_path / "clicks.csv").write_text("\n".join(["label,a", *lines]) + "\n")
    split_by = {"by": "order", "ratio": {"train": 3, "valid": 1, "test": 1}}
    run(
        own(name="small", split=split_by, features=[{"type": "categorical", "columns": ["a"]}]),
        tmp_path,
        tmp_path,
    )
    path = tmp_path / "mine.yaml"
    small = {"data": "small", "threads": 1, "model": {"name": "fm", "width": 4}}
    stopping = {"batch_size": 64, "epochs": 3, "early_stopping": {"metric": "auc", "patience": 1}}
    path.write_text(json.dumps(RECIPE | small | stopping))
    settings: list[str] = []
    said = []
    for _ in range(2):
        outcome = train(
            load(path, TrainingSpec, settings), data=tmp_path, out=tmp_path, report=lambda _: None
        )
        found = {warning.code: warning for warning in outcome.result.warnings}
        said.append("few_updates" in found)
        if "few_updates" in found:
            hint = found["few_updates"].hint.replace("`", " ")
            settings = [word for word in hint.split() if "=" in word]
    assert said == [True, False]
