import numpy as np
import pytest
import torch

from tests.models.oracle import Array, array, assert_logits, dot, examples, fields, mlp, sigmoid
from tests.models.zoo import CONFIGURATIONS, make, make_batch, perturbed
from wukongctl.errors import UsageError
from wukongctl.models.finalmlp import FinalMLP, Fusion, Gate


def reference_fusion(fusion: Fusion, first: Array, second: Array) -> float:
    total = mlp(fusion.first, first)[0] + mlp(fusion.second, second)[0]
    weight = array(fusion.weight)
    rows, columns = weight.shape[1:]
    for head in range(fusion.heads):
        for i in range(rows):
            for j in range(columns):
                total += first[head * rows + i] * weight[head, i, j] * second[head * columns + j]
    return total


def reference_contexts(model: FinalMLP, ids: Array, dense: Array) -> tuple[Array, Array]:
    """["y", "s"] and ["a", "x", "s"], each with its own rows below the 15 of the three tables."""
    table, numeric = array(model.embeddings.table.weight), model.embeddings.repeated_numeric
    assert numeric is not None
    y, x = (value * vector for value, vector in zip(dense[::-1], array(numeric.weight), strict=True))
    values = [value for value in ids[2:5] if value > 0]
    first, second = (
        np.mean([table[start + value] for value in values], axis=0) if values else np.zeros(6)
        for start in (15, 15 + 6 + 5)
    )
    return np.concatenate([y, first]), np.concatenate([table[15 + 6 + ids[0]], x, second])


@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if name.startswith("finalmlp")])
def test_model_equals_its_definition(name: str) -> None:
    model = perturbed(make(CONFIGURATIONS[name]))
    assert isinstance(model, FinalMLP)
    expected = []
    for ids, dense in examples(make_batch()):
        e = fields(model.embeddings, ids, dense).reshape(-1)
        inputs = [e, e]
        if name == "finalmlp-context":
            gates = zip(model.gates, reference_contexts(model, ids, dense), strict=True)
            inputs = [2 * sigmoid(mlp(gate.mlp, context)) * e for gate, context in gates]
        elif model.gates:
            inputs = [2 * sigmoid(mlp(gate.mlp, array(gate.constant)[0])) * e for gate in model.gates]
        streams = [mlp(stream, x) for stream, x in zip(model.streams, inputs, strict=True)]
        expected.append(reference_fusion(model.fusion, *streams))
    assert_logits(model, expected)


def test_fusion_with_one_head_is_a_bilinear_form() -> None:
    torch.manual_seed(0)
    fusion = Fusion(3, 4, 1).double()
    first, second = torch.randn(3).double(), torch.randn(4).double()
    bilinear = dot(array(first) @ array(fusion.weight)[0], array(second))
    rest = fusion.first(first).item() + fusion.second(second).item()
    assert fusion(first[None], second[None]).item() == pytest.approx(bilinear + rest, abs=1e-12)


def test_gradients_of_fusion_and_gate() -> None:
    torch.manual_seed(0)
    first, second = (torch.randn(2, size, dtype=torch.float64, requires_grad=True) for size in (4, 6))
    assert torch.autograd.gradcheck(Fusion(4, 6, 2).double(), (first, second))
    assert torch.autograd.gradcheck(Gate(4, (3,), 5, width=2).double(), (first,))


def test_gate_without_context_learns_only_its_last_bias() -> None:
    """As published (decision 0130); it starts at 1, and is constant over examples."""
    torch.manual_seed(0)
    gate, inputs = Gate(0, (3,), 5, width=2), torch.empty(4, 0)
    before = {name: weight.clone() for name, weight in gate.state_dict().items()}
    assert torch.equal(gate(inputs), torch.ones(4, 5))
    optimizer = torch.optim.Adam(gate.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (gate(inputs) * torch.arange(5)).sum().backward()
        optimizer.step()
    changed = {name for name, weight in gate.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == {"mlp.steps.2.bias"}
    assert (gate(inputs) == gate(inputs)[0]).all()


def test_gate_without_hidden_layers_learns_its_constant() -> None:
    gate = Gate(0, (), 5, width=2)
    gate(torch.empty(4, 0)).sum().backward()
    assert gate.constant is not None
    assert gate.constant.grad is not None
    assert gate.constant.grad.abs().min() > 0


def test_unknown_context_suggests_the_closest_feature() -> None:
    with pytest.raises(UsageError, match="`aa`, which is not a feature") as error:
        make({**CONFIGURATIONS["finalmlp"], "selection": {"context1": ["aa"]}})
    assert error.value.hint == "did you mean `a`?"
