"""`coord-check` through the command line."""

from pathlib import Path

import pytest

from tests.cli.conftest import Wukong

FLAGGED = ("--set", "optimizer.dense.lr=0.05", "--widths", "4,16,64", "--steps", 4, "--seeds", 1)


def test_unchanged_rates_fail_the_check_with_a_table(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    shown = wukong("coord-check", recipe, *FLAGGED, "--rule", "same", "--plot", "c.png")
    assert shown.code == 3
    assert "outputs after training" in shown.out
    assert "their change by training" in shown.out
    assert "`head.steps.0` grows" in shown.err
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "runs").exists()


def test_json_holds_every_scale_and_slope(wukong: Wukong, recipe: Path) -> None:
    found = wukong("coord-check", recipe, *FLAGGED, "--json")
    assert found.code == 0
    content = found.json
    assert (content["verdict"], content["rule"], content["widths"]) == ("stable", "mup", [4, 16, 64])
    head = next(layer for layer in content["layers"] if layer["layer"] == "head.steps.0")
    assert len(head["activations"]) == len(head["updates"]) == 3
    assert {layer["verdict"] for layer in content["layers"]} == {"stable"}


def test_without_widths_there_are_four_multiples(wukong: Wukong, recipe: Path) -> None:
    found = wukong("coord-check", recipe, "--steps", 1, "--seeds", 1, "--json")
    assert found.json["widths"] == [4, 8, 16, 32]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--widths", "8,x"), "'8,x' is not a list of whole numbers"),
        (("--widths", "8,8"), "'8,8' does not hold two different widths"),
        (("--plot", "c.txt"), "`--plot c.txt` does not end in .png, .svg or .pdf"),
        (("--plot", "absent/c.png"), "there is no folder `absent`"),
        (("--set", "data=absent"), "is not prepared"),
        (
            ("--set", "optimizer.factors={head.steps.9.weight: 2.0}", "--widths", "4,8"),
            "--set optimizer.factors={head.steps.9.weight: 2.0}: `optimizer.factors` names "
            "`head.steps.9.weight`, which is no dense weight of the model",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    wukong: Wukong, recipe: Path, arguments: tuple[str, ...], message: str
) -> None:
    refused = wukong("coord-check", recipe, *arguments)
    assert refused.code == 2
    assert message in refused.err


def test_trees_have_no_widths(wukong: Wukong, dataset: Path, tmp_path: Path) -> None:
    assert (dataset / "tiny").is_dir()
    (tmp_path / "trees.yaml").write_text("data: tiny\ndefaults: fixed\nmodel: {name: lightgbm}\n")
    refused = wukong("coord-check", "trees.yaml")
    assert refused.code == 2
    assert "model `lightgbm` has no widths" in refused.err
