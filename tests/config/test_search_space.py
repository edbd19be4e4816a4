"""The search spaces: every point is a recipe, the recipe itself is one of them, and what is set stays."""

import re
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wukongctl.config import library
from wukongctl.config.dimensions import OneOf, RealRange, Space, Stack, Steps
from wukongctl.config.loading import load, validate
from wukongctl.config.model import AnyModelSpec
from wukongctl.config.positions import parse
from wukongctl.config.search_space import changed, own_value, search_space
from wukongctl.config.space_options import SpaceOption
from wukongctl.config.training import TrainingSpec
from wukongctl.errors import UsageError

ROWS = 100_000
MODELS = sorted(
    get_args(page.model_fields["name"].annotation)[0] for page in get_args(get_args(AnyModelSpec)[0])
)


def recipe(model: str, text: str = "") -> TrainingSpec:
    return validate(parse(f"data: tiny\nmodel: {{name: {model}}}\n{text}", "mine.yaml"), TrainingSpec)


class Drawn:
    """A `Draw` by hypothesis."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data

    def real(self, name: str, low: float, high: float, *, log: bool) -> float:
        assert not log or low > 0
        return self.data.draw(st.floats(low, high), name)

    def whole(self, name: str, low: int, high: int) -> int:
        return self.data.draw(st.integers(low, high), name)

    def one_of(self, name: str, count: int) -> int:
        return self.data.draw(st.integers(0, count - 1), name)


class Known:
    """A `Draw` that gives the parameters of a point, and refuses those outside of what is asked."""

    def __init__(self, point: dict[str, Any]) -> None:
        self.point = point

    def real(self, name: str, low: float, high: float, *, log: bool) -> float:
        assert low <= self.point[name] <= high
        return self.point[name]

    def whole(self, name: str, low: int, high: int) -> int:
        assert low <= self.point[name] <= high
        return self.point[name]

    def one_of(self, name: str, count: int) -> int:
        return self.point[name]


def draw(space: Space, source: Any) -> dict[str, Any]:
    return {key: dimension.draw(key, source) for key, dimension in space.items()}


@pytest.mark.parametrize("name", MODELS)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_every_point_is_a_recipe(name: str, data: st.DataObject) -> None:
    base = recipe(name)
    space = search_space(base, ROWS)
    if base.is_network:
        assert {"optimizer.dense.lr", "optimizer.embedding.lr", "batch_size", "model.width"} <= set(space)
    setting = draw(space, Drawn(data))
    made = changed(base, setting)
    assert {key: own_value(made, key) for key in setting} == setting
    back = {key: own_value(base, key) for key in setting}
    back |= {} if base.is_network else {"model.bagging_freq": 0}  # which followed the fraction
    assert changed(made, back).digest() == base.digest()


@pytest.mark.parametrize(
    "name", [name for name in library.names() if not name.startswith(("datasets/", "paper/"))]
)
def test_a_recipe_lies_in_its_own_space(name: str) -> None:
    """Whatever its rates and sizes: the point that is nearest to it is itself, but for `null` and 0."""
    try:
        own = load(library.find(name), TrainingSpec)
    except UsageError:
        return  # a sweep or a report recipe
    space = search_space(own, ROWS)
    for key, dimension in space.items():
        value = own_value(own, key)
        back = dimension.draw(key, Known(dimension.nearest(key, value)))
        if isinstance(dimension, Stack) and len(set(value)) > 1:
            assert back == [value[0]] * len(value)
        elif isinstance(value, str):
            assert back == value
        elif value not in (None, 0):
            assert back == pytest.approx(value, rel=5e-3), key


def test_what_is_set_is_not_searched() -> None:
    base = recipe("mlp")
    assert "model.hidden" not in search_space(base, ROWS, ["model.hidden"])
    assert "model.hidden" not in search_space(base, ROWS, ["model.hidden.0"])
    assert not any(key.startswith("model.") for key in search_space(base, ROWS, ["model"]))
    assert "optimizer.dense.lr" in search_space(base, ROWS, ["optimizer.dense.l2", "optimizer.den"])


def test_sizes_given_layer_by_layer_stay() -> None:
    space = search_space(validate(parse(
        "data: tiny\nmodel: {name: wukong, layers: 2, n_F: [4, 8], hidden: [[8], [8]]}\n", "mine.yaml"
    ), TrainingSpec), ROWS)  # fmt: skip
    assert {"model.n_L", "model.k", "model.head"} <= set(space)
    assert not {"model.n_F", "model.hidden", "model.layers"} & set(space)


def test_lightgbm_has_a_space_of_its_own() -> None:
    base = recipe("lightgbm")
    space = search_space(base, ROWS)
    assert {"model.learning_rate", "model.num_leaves", "model.num_iterations"} <= set(space)
    assert all(key.startswith("model.") for key in space)
    stopped = recipe("lightgbm", "early_stopping: {patience: 50}\n")
    assert "model.num_iterations" not in search_space(stopped, ROWS)
    bagged = changed(base, {"model.bagging_fraction": 0.5})
    assert own_value(bagged, "model.bagging_freq") == 1
    assert own_value(changed(base, {"model.bagging_fraction": 1.0}), "model.bagging_freq") == 0


def test_a_batch_has_no_more_rows_than_there_are() -> None:
    assert search_space(recipe("fm", "batch_size: 64\n"), 100)["batch_size"] == Steps((16, 32, 64))
    assert "batch_size" not in search_space(recipe("fm", "batch_size: 4096\n"), 100)


def test_evaluations_keep_their_distance_in_examples() -> None:
    base = recipe("mlp", "batch_size: 400\nevaluate_every: 10\n")
    assert changed(base, {"batch_size": 100}).evaluate_every == 40
    assert changed(base, {"batch_size": 800}).evaluate_every == 5
    assert changed(base, {"model.width": 8}).evaluate_every == 10
    assert changed(recipe("mlp"), {"batch_size": 100}).evaluate_every is None


@pytest.mark.parametrize(
    ("text", "own", "expected"),
    [
        ("model.width=8..11", 16, Steps((8, 9, 10, 11))),
        ("model.dropout=0..1", 0.1, RealRange(0.0, 1.0, log=False)),
        ("optimizer.dense.lr=1e-4..1e-2", 1e-3, RealRange(1e-4, 1e-2, log=True)),
        ("optimizer.dense.lr=1e-3..5e-3", 1e-3, RealRange(1e-3, 5e-3, log=False)),
        ("model.width=[32, 8]", 16, Steps((8, 32))),
        ("model.hidden=[[64], [32, 32]]", [400], Steps(([64], [32, 32]))),
        ("schedule.decay=[none, linear]", "none", OneOf(("none", "linear"))),
        ("model.batch_norm=[true, false]", False, OneOf((True, False))),
    ],
)  # fmt: skip
def test_a_range_or_a_list_may_be_asked_for(text: str, own: Any, expected: object) -> None:
    option = SpaceOption.parse(text)
    assert option.key == text.partition("=")[0]
    assert option.dimension(own) == expected


@pytest.mark.parametrize(
    "text", ["model.width", "model.width=8", "=1..2", "model.width=2..1", "model.width=a..b", "x=[]", "x=.."]
)
def test_what_is_neither_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(text)) as caught:
        SpaceOption.parse(text)
    assert caught.value.hint == "write `KEY=LOW..HIGH` or `KEY=[A, B, C]`"


def test_too_many_whole_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match="is a range of 100,000 integers"):
        SpaceOption.parse("batch_size=1..100000").dimension(64)


def test_an_edge_is_where_values_beyond_might_be_better() -> None:
    rates = RealRange(1e-4, 1e-2)
    assert [rates.at_edge(value) for value in (1e-4, 1.1e-4, 1e-3, 9.9e-3, 1e-2)] == [
        True,
        True,
        False,
        True,
        True,
    ]
    dropout = RealRange(0.0, 0.5, log=False, natural_low=True)
    assert [dropout.at_edge(value) for value in (0.0, 0.2, 0.5)] == [False, False, True]
    assert not RealRange(1e-7, 0.1, natural_low=True).at_edge(0)
    assert not rates.at_edge(None)
    layers = Steps((1, 2, 3), natural_low=True)
    assert [layers.at_edge(value) for value in (1, 2, 3)] == [False, False, True]
    assert not Steps((1, 2)).at_edge(2)
    stack = Stack(Steps((8, 16, 32)), layers)
    assert [stack.at_edge(value) for value in ([16, 16], [8, 8], [16, 16, 16])] == [False, True, True]


def test_spaces_are_written_as_a_person_reads_them() -> None:
    assert str(RealRange(1e-4, 1e-2)) == "0.0001..0.01 (log)"
    assert str(Steps((0.5, 1.0, 2))) == "0.5, 1, 2"
    assert str(OneOf(("none", True, None, [8, 8]))) == "none or true or null or [8, 8]"
    assert str(Stack(Steps((8, 16)), Steps((1, 2)))) == "1, 2 layers of 8, 16"
