from wukongctl.runs.recipe_differences import differing_values


def test_only_keys_with_unequal_values_are_returned() -> None:
    first = {"epochs": 1, "model": {"name": "mlp", "hidden": [8], "init": None}, "stop": {}}
    second = {"epochs": 1, "model": {"name": "dlrm", "top": [8], "init": None}, "stop": {}}
    assert differing_values([first, second]) == [
        {"model.name": "mlp", "model.hidden": [8]},
        {"model.name": "dlrm", "model.top": [8]},
    ]
    assert differing_values([first, first, {**first, "epochs": 2}]) == [
        {"epochs": 1},
        {"epochs": 1},
        {"epochs": 2},
    ]


def test_a_single_recipe_has_no_differences() -> None:
    assert differing_values([{"a": {"b": 1}}]) == [{}]
