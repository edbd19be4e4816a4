"""Model sections of recipes: valid ones, and the messages for invalid ones."""

import pytest

from wukongctl.config import gbdt, mixers, model, model_section, training, wukong
from wukongctl.config.loading import validate
from wukongctl.config.positions import parse
from wukongctl.config.schema import _attribute_docstrings
from wukongctl.config.spec import Spec
from wukongctl.config.training import TrainingSpec
from wukongctl.config.wukong import LayerSizes, WukongSpec
from wukongctl.errors import RecipeError


def problems(model: str, *lines: str) -> list[str]:
    text = "\n  ".join(["data: x\nmodel:", f"name: {model}", *lines]) + "\n"
    with pytest.raises(RecipeError) as error:
        validate(parse(text, "r.yaml"), TrainingSpec)
    return [str(problem) for problem in error.value.problems]


WORDS = "(give one value for all layers, or one per layer)"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "n_F: [3, 2, 1]",
            f"r.yaml:4:3: `n_F` has 3 entries but `layers` is 2 {WORDS}",
        ),
        (
            "hidden: [[3]]",
            f"r.yaml:4:3: `hidden` has 1 entry but `layers` is 2 {WORDS}",
        ),
        ("k: many", "r.yaml:4:6: `model.k` is `many`, expected an integer"),
        ("n_L: [4, 0]", "r.yaml:4:12: `model.n_L.1` is `0`, expected more than 0"),
        ("hidden: [3, [4]]", "r.yaml:4:12: `model.hidden.0` is `3`, expected a list (write `[3]`)"),
        ("bottom: 128", "r.yaml:4:11: `model.bottom` is `128`, expected a list (write `[128]`)"),
        ("ablate: fmb", "r.yaml:4:11: `model.ablate` is `fmb`, expected a list (write `[fmb]`)"),
        (
            "groups: [{features: []}]",
            "r.yaml:4:23: `model.groups.0.features`: expected a list of at least one entry",
        ),
        (
            "ablate: [fmbs]",
            "r.yaml:4:12: `model.ablate.0` is `fmbs`, expected `fmb`, `lcb` or `residual` "
            "(did you mean `fmb`?)",
        ),
        (
            "ablate: [residual, fmb, lcb]",
            "r.yaml:4:3: `ablate` names all three parts: nothing would be left of a layer",
        ),
        (
            "groups: [{features: [a, b]}, {features: [b]}]",
            "r.yaml:4:44: the model names `b` twice",
        ),
    ],
)
def test_wukong_problem_is_reported_once_with_its_position(line: str, problem: str) -> None:
    assert problems("wukong", line) == [problem]


@pytest.mark.parametrize(
    ("model", "lines", "problem"),
    [
        ("autoint", ["heads: 3"], "`heads` 3 does not divide `attention_width` 64"),
        (
            "autoint",
            ["structure: stacked", "hidden: null"],
            "`structure: stacked` needs `hidden`, the layers of its MLP",
        ),
        (
            "autoint",
            ["linear: true", "bottom: [8]"],
            "`linear` needs a weight per numeric feature, which `bottom` does not leave",
        ),
        ("finalmlp", ["heads: 5", "mlp2: {hidden: [3]}"], "5 does not divide the last width 3 of `mlp2`"),
        ("finalmlp", ["selection: {context2: [a, b, a]}"], "r.yaml:4:32: the model names `a` twice"),
        ("fm", ["dropout: 0.1"], "unknown key `dropout`"),
        ("rankmixer", ["tokens: 7"], "`tokens` 7 does not divide `token_width` 64"),
        ("tokenmixer_large", ["tokens: 7"], "`tokens` 7 does not divide `token_width` 64"),
        ("tokenmixer_large", ["tokens: 7", "heads: 3"], "`heads` 3 does not divide `token_width` 64"),
        ("tokenmixer_large", ["tokens: 1"], "`global_token` needs at least 2 `tokens`"),
        ("unimixer", ["block: 7"], "`block` 7 does not divide `tokens` times `token_width`, 512"),
        ("dcnv2", ["structure: parallell"], "did you mean `parallel`?"),
        ("dcn", [], "did you mean `dcnv2`?"),
    ],
)
def test_problems_of_other_models(model: str, lines: list[str], problem: str) -> None:
    (found,) = problems(model, *lines)
    assert problem in found


def test_all_conflicts_of_keys_are_reported_at_once() -> None:
    found = problems(
        "wukong",
        "embeddings_per_feature: {a: 2}",
        "layers: 2",
        "k: [1]",
        "groups: [{features: [b, a]}]",
        "n_L: [2, 2, 2]",
    )
    assert [problem.partition(" ")[0] for problem in found] == ["r.yaml:6:3:", "r.yaml:7:27:", "r.yaml:8:3:"]
    assert len(problems("autoint", "heads: 3", "linear: true", "bottom: [8]")) == 2


def test_lists_that_conflict_with_an_overridden_number_of_layers() -> None:
    """The position is that of the override, not of the list in the file."""
    text = "data: x\nmodel: {name: wukong, n_F: [2, 2], k: [3, 3]}\n"
    with pytest.raises(RecipeError) as error:
        validate(parse(text, "r.yaml"), TrainingSpec, ["model.layers=3"])
    assert [problem.file for problem in error.value.problems] == ["--set model.layers=3"] * 2
    page = "model={name: autoint, heads: 3}"
    with pytest.raises(RecipeError) as error:
        validate(parse(text, "r.yaml"), TrainingSpec, [page])
    assert [problem.file for problem in error.value.problems] == [f"--set {page}"]


def test_sizes_spread_over_layers() -> None:
    spec = WukongSpec.from_dict({"name": "wukong", "layers": 2, "n_F": [4, 2], "hidden": [[8], []]})
    assert spec.layer_sizes == (LayerSizes(4, 8, 8, (8,)), LayerSizes(2, 8, 8, ()))
    assert WukongSpec.from_dict(spec.to_dict()) == spec


def test_a_default_logit_scale_is_not_part_of_the_digest() -> None:
    """Runs from before the key existed keep their folders."""
    without = TrainingSpec.from_dict({"data": "x", "model": {"name": "dcnv2"}})
    default = TrainingSpec.from_dict({"data": "x", "model": {"name": "dcnv2", "logit_scale": 1.0}})
    small = TrainingSpec.from_dict({"data": "x", "model": {"name": "dcnv2", "logit_scale": 0.01}})
    assert without.digest() == default.digest() != small.digest()
    assert "logit_scale" not in without.to_dict()["model"]
    assert TrainingSpec.from_dict(small.to_dict()) == small


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("layers: 99999999999999999999", "expected at most 1000"),
        ("n_F: 99999999999999999999", "expected at most 1048576"),
        ("hidden: [2097152]", "expected at most 1048576"),
        ("dropout: 0.99999999", "expected at most 0.999"),  # which would round to 1
    ],
)
def test_numbers_too_large_for_any_machine_are_rejected(line: str, said: str) -> None:
    (problem,) = problems("wukong", line)
    assert problem.startswith("r.yaml:4:")
    assert said in problem


@pytest.mark.parametrize(
    ("model", "lines", "override", "place"),
    [
        ("autoint", ["hidden: [8]", "heads: 3"], None, "r.yaml:5:3"),
        ("autoint", ["hidden: [8]", "attention_width: 7"], None, "r.yaml:5:3"),
        ("autoint", ["heads: 2", "attention_width: 64"], "model.heads=3", "--set model.heads=3"),
        ("autoint", ["heads: 2"], "model.attention_width=7", "--set model.attention_width=7"),
        ("autoint", ["structure: stacked"], "model.hidden=null", "--set model.hidden=null"),
        ("autoint", ["linear: true", "bottom: [8]"], None, "r.yaml:4:3"),
        ("unimixer", ["tokens: 3"], "model.block=5", "--set model.block=5"),
        ("finalmlp", ["heads: 10"], "model.mlp1.hidden=[7]", "--set model.mlp1.hidden=[7]"),
    ],
)
def test_conflicting_keys_have_positions(
    model: str, lines: list[str], override: str | None, place: str
) -> None:
    text = "\n  ".join(["data: x\nmodel:", f"name: {model}", *lines]) + "\n"
    with pytest.raises(RecipeError) as error:
        validate(parse(text, "r.yaml"), TrainingSpec, [override] if override else [])
    assert [str(problem).split(": ")[0] for problem in error.value.problems] == [place]


PAGES = [
    page
    for module in (gbdt, mixers, model, model_section, wukong, training)
    for page in vars(module).values()
    if isinstance(page, type) and issubclass(page, Spec) and page.__module__ == module.__name__
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.__name__)
def test_every_key_has_a_description(page: type[Spec]) -> None:
    described = dict(_attribute_docstrings(page))
    assert page.model_fields.keys() - described.keys() <= {"name"}  # selects the section
