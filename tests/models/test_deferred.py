"""Tables that are drawn later have the rows that they would have had."""

import pytest
import torch

from tests.models.zoo import CONFIGURATIONS, SCHEMA
from wukongctl.config.training import TrainingSpec
from wukongctl.models import Model, build, deferred
from wukongctl.models.deferred import deferred_tables
from wukongctl.models.embeddings import Embeddings


@pytest.mark.parametrize("rows", [1, 3, 15, 16, 17, 33, 64, 65, 1000, 1001])
@pytest.mark.parametrize(("width", "linear"), [(1, False), (4, False), (5, True), (16, False), (17, True)])
@pytest.mark.parametrize("block", [64, 256])
def test_blocks_are_those_of_a_whole_table(
    monkeypatch: pytest.MonkeyPatch, rows: int, width: int, linear: bool, block: int
) -> None:
    monkeypatch.setattr(deferred, "BLOCK", block)
    torch.manual_seed(3)
    table, nothing = deferred.new_table(rows, width, std=0.3, linear=linear, sparse=False)
    assert nothing is None
    after = torch.randn(5)
    torch.manual_seed(3)
    with deferred_tables():
        empty, initial = deferred.new_table(rows, width, std=0.3, linear=linear, sparse=False)
    assert empty.weight.is_meta
    assert torch.equal(torch.randn(5), after)
    assert initial is not None
    blocks = list(initial.blocks())
    assert [start for start, _ in blocks] == [
        sum(len(rows) for _, rows in blocks[:place]) for place in range(len(blocks))
    ]
    assert torch.equal(torch.cat([rows for _, rows in blocks]), table.weight)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_all_other_weights_of_a_model_are_the_same(name: str) -> None:
    spec = TrainingSpec.from_dict({"data": "d", "model": {"width": 6, **CONFIGURATIONS[name]}})

    def new() -> Model:
        torch.manual_seed(1)
        return build(spec.model, SCHEMA, sparse=True)

    expected = new()
    with deferred_tables():
        found = new()
    weights = found.state_dict()
    for module, path in ((module, path) for path, module in found.named_modules()):
        if isinstance(module, Embeddings):
            assert module.initial is not None
            weights[f"{path}.table.weight"] = torch.cat([rows for _, rows in module.initial.blocks()])
    for key, weight in expected.state_dict().items():
        assert torch.equal(weights[key], weight)
