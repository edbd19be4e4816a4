"""The coordinate check: slopes of known scales, and rates that are wrong are found out."""

from pathlib import Path

import pytest

from tests.training.test_train import data  # noqa: F401 a fixture
from wukongctl.config.sweep import ScaleRule
from wukongctl.config.training import TrainingSpec
from wukongctl.errors import RunFailed
from wukongctl.training import transfer
from wukongctl.training.coordinates import LayerScales, check, slope
from wukongctl.training.transfer import Exponents

WIDTHS = (8, 32, 128)


def recipe(lr: float = 0.02) -> TrainingSpec:
    return TrainingSpec.from_dict(
        {
            "data": "tiny",
            "model": {"name": "mlp", "width": 8, "hidden": [16, 16], "embedding_init": 0.3, "dropout": 0.3},
            "optimizer": {"dense": {"lr": lr}, "embedding": {"name": "adam", "lr": 0.02}},
            "batch_size": 128,
            "threads": 1,
        }
    )


def checked(data: Path, rule: ScaleRule) -> dict[str, LayerScales]:  # noqa: F811
    found = check(recipe(), data=data, widths=WIDTHS, rule=rule, steps=6, seeds=2)
    assert [layer.layer for layer in found] == ["embeddings.table", *(f"mlp.steps.{n}" for n in (0, 3, 6))]
    return {layer.layer: layer for layer in found}


def test_scaled_rates_are_stable_and_unchanged_ones_are_not(data: Path) -> None:  # noqa: F811
    scaled, same = checked(data, "mup"), checked(data, "same")
    assert {layer.verdict for layer in scaled.values()} == {"stable"}
    assert all(
        abs(scaled[name].update_slope) < 0.25 for name in ("embeddings.table", "mlp.steps.0", "mlp.steps.3")
    )
    assert same["mlp.steps.3"].verdict == "grows"
    assert same["mlp.steps.3"].update_slope > scaled["mlp.steps.3"].update_slope + 0.4


@pytest.mark.parametrize(("power", "verdict"), [(0.5, "grows"), (-2.5, "shrinks")])
def test_a_wrong_rule_is_found_out(
    power: float, verdict: str, data: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    wrong = Exponents(matrix=power, logit=power, products=0.0)
    monkeypatch.setattr(transfer, "RULES", {"mup": wrong})
    assert checked(data, "mup")["mlp.steps.6"].verdict == verdict


@pytest.mark.parametrize("power", [-1.5, 0.0, 0.5])
def test_the_slope_of_a_power_is_the_power(power: float) -> None:
    widths = [4, 8, 24, 100]
    assert slope(widths, [3.0 * width**power for width in widths]) == pytest.approx(power, abs=1e-12)
    assert slope(widths, [0.0, 1.0, 1.0, 1.0]) == 0


@pytest.mark.parametrize(
    ("activation", "update", "verdict"),
    [
        (0, 0, "stable"),
        (-1, 0, "stable"),
        (0.5, 0, "grows"),
        (0, 0.5, "grows"),
        (0, -0.5, "stable"),
        (0, -1, "shrinks"),
    ],
)
def test_outputs_may_shrink_and_changes_may_not(activation: float, update: float, verdict: str) -> None:
    assert LayerScales("x", (), (), activation, update).verdict == verdict


def test_an_output_that_is_not_finite_is_an_error(data: Path) -> None:  # noqa: F811
    with pytest.raises(RunFailed, match=r"the output of `\S+` is not finite after 2 steps at width 8"):
        check(recipe(lr=1e38), data=data, widths=(8, 16), rule="same", steps=2, seeds=1)
