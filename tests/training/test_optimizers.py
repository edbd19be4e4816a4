import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wukongctl.config.model import MLPSpec, WukongSpec
from wukongctl.config.spec import Mismatch
from wukongctl.config.training import OptimizerSpec
from wukongctl.data.schema import Batch, Schema
from wukongctl.models import Model
from wukongctl.models import build as build_model
from wukongctl.training.optimizers import (
    LazyAdam,
    RowwiseAdagrad,
    _group,
    _group_without_waiting,
    build,
    round_stochastically,
    sum_rows,
    wants_sparse,
)


def reference_rowwise_adagrad(
    table: torch.Tensor, batches: list[list[int]], targets: torch.Tensor, lr: float, eps: float
) -> torch.Tensor:
    """The definition, with dense gradients and a loop over rows."""
    weights, sums = table.clone(), torch.zeros(len(table))
    for rows in batches:
        gradient = torch.zeros_like(weights)
        for row in rows:
            gradient[row] += 2 * (weights[row] - targets[row])
        for row in set(rows):
            sums[row] += gradient[row].square().mean()
            weights[row] -= lr * gradient[row] / (sums[row].sqrt() + eps)
    return weights


def test_rowwise_adagrad_equals_its_definition_with_repeated_rows() -> None:
    torch.manual_seed(0)
    table = torch.randn(6, 3)
    targets = torch.randn(6, 3)
    batches = [[0, 1, 1, 4], [4, 4, 4, 0], [2, 1, 0, 5]]
    embedding = torch.nn.Embedding(6, 3, sparse=True, _weight=table.clone())
    optimizer = RowwiseAdagrad([embedding.weight], lr=0.1, eps=1e-8)
    for rows in batches:
        optimizer.zero_grad()
        ids = torch.tensor(rows)
        (embedding(ids) - targets[ids]).square().sum().backward()
        optimizer.step()
    expected = reference_rowwise_adagrad(table, batches, targets, 0.1, 1e-8)
    torch.testing.assert_close(embedding.weight.detach(), expected)


def test_lazy_adam_equals_torchs_sparse_adam() -> None:
    torch.manual_seed(0)
    start, targets = torch.randn(6, 3), torch.randn(6, 3)
    found = []
    for make in (
        lambda w: LazyAdam(w, lr=0.1, betas=(0.9, 0.99), eps=1e-8),
        lambda w: torch.optim.SparseAdam(w, lr=0.1, betas=(0.9, 0.99), eps=1e-8),
    ):
        embedding = torch.nn.Embedding(6, 3, sparse=True, _weight=start.clone())
        optimizer = make([embedding.weight])
        for rows in ([0, 1, 1, 4], [4, 4, 4, 0], [2, 1, 0, 5]):
            optimizer.zero_grad()
            (embedding(torch.tensor(rows)) - targets[torch.tensor(rows)]).square().sum().backward()
            optimizer.step()
        found.append(embedding.weight.detach())
    torch.testing.assert_close(*found)


@given(
    ids=st.lists(st.integers(0, 40), min_size=0, max_size=60),
    high=st.sampled_from([1, 2**31 - 41, 2**40]),
)
def test_summed_rows_equal_a_coalesced_gradient(ids: list[int], high: int) -> None:
    rows = torch.tensor(ids, dtype=torch.int64) * high
    values = torch.arange(len(ids) * 2, dtype=torch.float32).view(-1, 2)
    gradient = torch.sparse_coo_tensor(rows[None], values, (41 * high + 1, 2), check_invariants=True)
    found, summed, _ = sum_rows(gradient)
    expected = gradient.coalesce()
    assert torch.equal(found, expected.indices()[0])
    torch.testing.assert_close(summed, expected.values())


@given(ids=st.lists(st.integers(0, 40), min_size=1, max_size=60))
def test_a_gpu_groups_rows_as_a_cpu_does_and_repeats_the_last(ids: list[int]) -> None:
    rows = torch.tensor(ids, dtype=torch.int64)
    distinct, order, starts = _group(rows)
    padded, same_order, padded_starts, place = _group_without_waiting(rows)
    n = len(distinct)
    assert torch.equal(padded[:n], distinct)
    assert torch.equal(same_order, order)
    assert torch.equal(padded_starts[:n], starts)
    assert (padded_starts[n:] == len(ids)).all()
    assert (padded[n:] == distinct[-1]).all()
    assert place.tolist() == [min(index, n - 1) for index in range(len(ids))]


@pytest.mark.parametrize("name", ["rowwise_adagrad", "lazy_adam"])
def test_l2_shrinks_the_rows_a_batch_uses_and_no_others(name: str) -> None:
    made = {}
    for l2 in (0.0, 0.5):
        torch.manual_seed(0)
        spec = OptimizerSpec.from_dict({"embedding": {"name": name, "lr": 0.1, "l2": l2}})
        model = build_model(
            MLPSpec(name="mlp", hidden=(3,), width=2), Schema(("a",), (), (), (9,)), sparse=True
        )
        table = model.embeddings.table.weight
        before = table.detach().clone()
        table.grad = torch.sparse_coo_tensor([[2, 5]], torch.zeros(2, 2), table.shape, check_invariants=True)
        build(spec, model)["embedding"].step()
        made[l2] = table.detach() - before
    assert not made[0.0].any()
    moved = made[0.5].any(1)
    assert moved.nonzero().flatten().tolist() == [2, 5]
    assert (made[0.5][moved] * before[moved] <= 0).all()


def test_stochastic_rounding_keeps_the_mean_and_what_is_exact() -> None:
    torch.manual_seed(0)
    exact = torch.tensor([1.0, -2.5, 0.0])
    assert torch.equal(round_stochastically(exact).float(), exact)
    value = 1.0 + 2**-10  # an eighth of the way to the next bfloat16
    rounded = round_stochastically(torch.full((200_000,), value)).float()
    assert set(rounded.tolist()) == {1.0, 1.0 + 2**-7}
    assert rounded.mean().item() == pytest.approx(value, abs=6 * 2**-7 / 200_000**0.5 / 2)


def test_small_updates_move_bfloat16_tables_as_far_as_float32_ones() -> None:
    ends = {}
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        table = torch.ones(1, 4096, dtype=dtype).requires_grad_()
        optimizer = LazyAdam([table], lr=1e-3, betas=(0.0, 0.0), eps=1e-8)  # each step is 0.001, below 1/256
        for _ in range(50):
            gradient = torch.ones(1, 4096, dtype=dtype)
            table.grad = torch.sparse_coo_tensor([[0]], gradient, table.shape, check_invariants=True)
            optimizer.step()
        ends[dtype] = table.detach().float().mean().item()
    assert ends[torch.bfloat16] == pytest.approx(ends[torch.float32], abs=5e-4)


def test_rows_a_batch_does_not_use_stay_untouched() -> None:
    embedding = torch.nn.Embedding(5, 2, sparse=True)
    before = embedding.weight.detach().clone()
    optimizer = RowwiseAdagrad([embedding.weight], lr=0.5, eps=1e-8)
    embedding(torch.tensor([1, 3])).sum().backward()
    optimizer.step()
    changed = (embedding.weight != before).any(1)
    assert changed.tolist() == [False, True, False, True, False]


@pytest.mark.parametrize("embedding", ["rowwise_adagrad", "lazy_adam", "adam"])
def test_every_parameter_has_exactly_one_optimizer(embedding: str) -> None:
    spec = OptimizerSpec.from_dict({"embedding": {"name": embedding}})
    schema = Schema(("a",), (), (), (4,))
    model = build_model(MLPSpec(name="mlp", hidden=(3,)), schema, sparse=wants_sparse(spec))
    owned = [
        id(weight)
        for optimizer in build(spec, model).values()
        for group in optimizer.param_groups
        for weight in group["params"]
    ]
    assert sorted(owned) == sorted(id(parameter) for parameter in model.parameters())


def test_l2_is_the_gradient_of_half_lambda_squared_norm() -> None:
    spec = OptimizerSpec.from_dict({"embedding": {"name": "adam", "lr": 0.1, "l2": 0.5}})
    model = build_model(MLPSpec(name="mlp", hidden=(3,), width=2), Schema(("a",), (), (), (4,)), sparse=False)
    table = model.embeddings.table.weight
    explicit = table.detach().clone().requires_grad_()
    reference = torch.optim.Adam([explicit], lr=0.1)
    optimizer = build(spec, model)["embedding"]
    for _ in range(3):
        table.grad = torch.zeros_like(table)
        optimizer.step()
        reference.zero_grad()
        (0.5 / 2 * explicit.square().sum()).backward()
        reference.step()
    torch.testing.assert_close(table.detach(), explicit.detach())


def test_narrow_tables_are_embeddings_too() -> None:
    spec = OptimizerSpec.from_dict({"embedding": {"name": "rowwise_adagrad", "lr": 0.1}})
    groups = [{"features": ["b", "c"], "width": 2, "hidden": [3]}]
    model_spec = WukongSpec.from_dict({"name": "wukong", "width": 4, "groups": groups})
    model = build_model(model_spec, Schema(("a", "b", "c"), (), (), (4, 5, 6)), sparse=True)
    optimizers = build(spec, model)
    batch = Batch(torch.tensor([[1, 2, 3], [2, 2, 4]]), torch.zeros(2, 0), torch.tensor([0.0, 1.0]))
    model(batch).sum().backward()
    for optimizer in optimizers.values():
        optimizer.step()
    sparse = [p for p in model.parameters() if p.grad is not None and p.grad.is_sparse]
    owned = [weight for group in optimizers["embedding"].param_groups for weight in group["params"]]
    assert {id(p) for p in sparse} == {id(p) for p in owned}
    assert len(owned) == 2


FACTORS = {"mlp.steps.0.weight": 0.25, "mlp.steps.2.bias": 4.0}


def mlp_with_factors(factors: dict[str, float]) -> tuple[Model, torch.optim.Optimizer]:
    spec = OptimizerSpec.from_dict({"dense": {"lr": 0.1}, "factors": factors})
    model = build_model(MLPSpec(name="mlp", hidden=(3,), width=2), Schema(("a",), (), (), (4,)), sparse=True)
    return model, build(spec, model)["dense"]


def test_a_factor_scales_the_steps_of_its_weight_alone() -> None:
    """Adam's first step is the learning rate, whatever the gradient."""
    model, optimizer = mlp_with_factors(FACTORS)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, 7.0)
    optimizer.step()
    moved = {name: before[name] - weight.detach() for name, weight in model.named_parameters()}
    assert not moved.pop("embeddings.table.weight").any()
    steps = {name: {round(float(each), 5) for each in change.flatten()} for name, change in moved.items()}
    assert steps == {
        "mlp.steps.0.weight": {0.025},
        "mlp.steps.0.bias": {0.1},
        "mlp.steps.2.weight": {0.1},
        "mlp.steps.2.bias": {0.4},
    }


def test_a_factor_of_no_dense_weight_is_refused_with_its_key() -> None:
    with pytest.raises(Mismatch) as caught:
        mlp_with_factors({"mlp.steps.1.weight": 0.5, "embeddings.table.weight": 2.0})
    assert [mistake.path[-1] for mistake in caught.value.mistakes] == [
        "mlp.steps.1.weight", "embeddings.table.weight",
    ]  # fmt: skip
    assert caught.value.mistakes[0].hint == "did you mean `mlp.steps.2.weight`?"


def test_recipes_without_factors_are_written_without_them() -> None:
    assert "factors" not in OptimizerSpec().to_dict()
    assert OptimizerSpec.from_dict({"factors": FACTORS}).to_dict()["factors"] == FACTORS
