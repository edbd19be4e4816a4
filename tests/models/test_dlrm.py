import itertools

import numpy as np
import pytest
import torch

from wukongctl.config.model import DLRMSpec
from wukongctl.data.schema import Batch, Schema
from wukongctl.models import build
from wukongctl.models.dlrm import DLRM

SCHEMA = Schema(("a", "b", "c"), ("x", "y"), (), (5, 4, 6))
CATEGORICAL_ONLY = Schema(("a", "b", "c"), (), (), (5, 4, 6))


def batch_for(schema: Schema, rows: int = 6) -> Batch:
    torch.manual_seed(0)
    ids = torch.stack([torch.randint(0, high, (rows,)) for high in (5, 4, 6)], dim=1).int()
    return Batch(ids, torch.randn(rows, len(schema.numeric)), torch.zeros(rows))


@pytest.mark.parametrize("schema", [SCHEMA, CATEGORICAL_ONLY], ids=["numeric", "categorical only"])
@pytest.mark.parametrize("interaction", ["dot", "cat"])
def test_model_equals_its_definition(schema: Schema, interaction: str) -> None:
    spec = {"name": "dlrm", "width": 4, "bottom": (3,), "top": (7, 5), "interaction": interaction}
    model = build(DLRMSpec.from_dict(spec), schema, sparse=False).double()
    assert isinstance(model, DLRM)
    batch = batch_for(schema)
    batch = batch._replace(dense=batch.dense.double())
    table = model.embeddings.table.weight.detach().numpy()
    expected = []
    for ids, dense in zip(batch.ids.numpy(), batch.dense, strict=True):
        rows = [table[ids[0]], table[5 + ids[1]], table[9 + ids[2]]]
        head = []
        if model.bottom is not None:
            rows.append(torch.relu(model.bottom(dense)).detach().numpy())
            head = list(rows[-1])
        pairs = [float(np.dot(one, other)) for one, other in itertools.combinations(rows, 2)]
        inputs = head + pairs if interaction == "dot" else list(np.concatenate(rows))
        expected.append(model.top(torch.tensor(np.array(inputs)))[0].item())
    np.testing.assert_allclose(model(batch).detach().numpy(), expected, atol=1e-10)
    single = model.float()(batch_for(schema)).detach().numpy()
    np.testing.assert_allclose(single, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("interaction", ["dot", "cat"])
def test_gradients_through_the_interaction(interaction: str) -> None:
    spec = {"name": "dlrm", "width": 4, "bottom": (3,), "top": (5,), "interaction": interaction}
    model = build(DLRMSpec.from_dict(spec), SCHEMA, sparse=False).double()
    batch = batch_for(SCHEMA, rows=3)

    def logits(dense: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        weights = {"embeddings.table.weight": table}
        return torch.func.functional_call(model, weights, (batch._replace(dense=dense),))

    table = model.get_parameter("embeddings.table.weight").detach().requires_grad_()
    assert torch.autograd.gradcheck(logits, (batch.dense.double().requires_grad_(), table))
