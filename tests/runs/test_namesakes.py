from wukongctl.runs.namesakes import settings


def test_what_recipes_differ_in() -> None:
    first = {"epochs": 1, "model": {"name": "mlp", "hidden": [8], "init": None}, "stop": {}}
    second = {"epochs": 1, "model": {"name": "dlrm", "top": [8], "init": None}, "stop": {}}
    assert settings([first, second]) == [
        {"model.name": "mlp", "model.hidden": [8]},
        {"model.name": "dlrm", "model.top": [8]},
    ]
    assert settings([first, first, {**first, "epochs": 2}]) == [{"epochs": 1}, {"epochs": 1}, {"epochs": 2}]


def test_one_recipe_differs_from_none() -> None:
    assert settings([{"a": {"b": 1}}]) == [{}]
