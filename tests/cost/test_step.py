"""The traced step against the allocator of a real one, and against hand counts."""

import gc

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.profiler import ProfilerActivity, profile

from tests.models import zoo
from wukongctl.config.training import TrainingSpec
from wukongctl.cost.step import Operator, Step, trace_step
from wukongctl.data.schema import Schema
from wukongctl.models import Model, build
from wukongctl.models.embeddings import embedding_tables
from wukongctl.models.unimixer import UniMixing

ROWS = 1024
FIVE = Schema(tuple("abcde"), (), (), (10,) * 5)


def on_meta(keys: dict[str, object], schema: Schema = zoo.SCHEMA) -> Model:
    spec = TrainingSpec.from_dict({"data": "synthetic", "model": {"width": 16, **keys}})
    with torch.device("meta"):
        return build(spec.model, schema, sparse=False)


def allocated(model: Model) -> int:
    """The most bytes that torch's allocator has out at a time during a real step on the processor."""
    batch = zoo.make_batch(ROWS)

    def step() -> None:
        logits = model(batch)
        loss = binary_cross_entropy_with_logits(logits.float(), batch.labels, reduction="sum") / ROWS
        loss.backward()

    step()
    model.zero_grad(set_to_none=True)
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        step()
    assert watched.profiler is not None
    assert watched.profiler.kineto_results is not None
    events = watched.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


@zoo.one_per_model
def test_peak_is_what_the_allocator_had_out(name: str) -> None:
    """Within 3 %, and 10 % for AFN, whose batch norm copies inside its kernel on a processor.

    Beside activations the allocator has the ids of each table, for the gradient of its rows.
    """
    keys = {"width": 16, **zoo.CONFIGURATIONS[name]}
    step = trace_step(on_meta(keys), zoo.SCHEMA, ROWS, "float32")
    real = zoo.make(keys, sparse=True)
    ids = 8 * ROWS * len(zoo.ID_ROWS) * len(embedding_tables(real))
    tolerance = 0.1 if name.startswith("afn") else 0.03
    assert allocated(real) == pytest.approx(step.peak + ids, rel=tolerance)
    assert 0 < step.saved <= step.peak


def once_per_batch(model: Model) -> int:
    """Multiply-accumulates of weights with weights: the mixing matrices of UniMixing-Lite."""
    parts = [module for module in model.modules() if isinstance(module, UniMixing)]
    return sum(len(part.left) * (part.right.numel() + part.basis.numel()) for part in parts)


@pytest.mark.parametrize("name", zoo.CONFIGURATIONS)
def test_forward_flop_are_those_of_the_formula(name: str) -> None:
    model = on_meta(zoo.CONFIGURATIONS[name])
    step = trace_step(model, zoo.SCHEMA, 64, "float32")
    assert step.flop("forward") == 2 * (64 * sum(model.macs().values()) + once_per_batch(model))
    assert step.flop("backward") <= 2 * step.flop("forward")
    assert all(weights.grad is None and weights.requires_grad for weights in model.parameters())


def test_an_mlp_by_hand() -> None:
    """5 embeddings of width 4 → 7 → 1: backward needs both inputs, the logit and its label."""
    model = on_meta({"name": "mlp", "width": 4, "hidden": [7]}, FIVE)
    step = trace_step(model, FIVE, 100, "float32")
    loss = 3 * 4  # the sum, the mean and its divisor's gradient are numbers
    assert 0 <= step.saved - 100 * 4 * (20 + 7 + 1) <= loss
    assert step.weight_copies == 0
    products = [one for one in step.operators if one.flop]
    assert [one.flop for one in products[:2]] == [2 * 100 * 20 * 7, 2 * 100 * 7]
    # Input, weights and bias are read, the output is written.
    assert products[0].bytes == 4 * (100 * 20 + 20 * 7 + 7 + 100 * 7)
    assert sum(one.flop for one in products) == 3 * 2 * 100 * (20 * 7 + 7)


def test_an_mlp_in_bfloat16_by_hand() -> None:
    """Inputs of products take 2 bytes, the input of the logit 4; weights but the logit's are copied."""
    model = on_meta({"name": "mlp", "width": 4, "hidden": [7]}, FIVE)
    step = trace_step(model, FIVE, 100, "bfloat16")
    assert 0 <= step.saved - 100 * (2 * 20 + 2 * 7 + 4 * 7 + 4) <= 3 * 4
    assert step.weight_copies == 2 * (20 * 7 + 7)
    assert trace_step(model, FIVE, 100, "float32").weight_copies == 0


def test_bfloat16_halves_the_bytes_of_products_but_not_of_norms() -> None:
    keys = {"name": "wukong", "layers": 2, "n_F": 4, "n_L": 4, "k": 4, "hidden": [64], "head": [64]}
    model = on_meta(keys)
    full, half = (trace_step(model, zoo.SCHEMA, 256, precision) for precision in ("float32", "bfloat16"))
    assert half.flop("forward") == full.flop("forward")
    moved = [sum(one.bytes for one in step.operators if one.flop) for step in (full, half)]
    assert 0.45 < moved[1] / moved[0] < 0.6
    assert half.saved < full.saved


def test_doubling_the_rows_doubles_what_is_saved() -> None:
    model = on_meta(zoo.CONFIGURATIONS["wukong-attentive"])
    one, two = (trace_step(model, zoo.SCHEMA, rows, "float32") for rows in (256, 512))
    assert two.saved == pytest.approx(2 * one.saved, rel=1e-3)
    assert len(two.operators) == len(one.operators)


def test_a_roofline_by_hand() -> None:
    """100 FLOP/s and 10 bytes/s: the first is bound by FLOP, the second by bytes; half a second each more."""
    operators = (Operator("forward", 400, 10), Operator("forward", 100, 30), Operator("backward", 0, 50))
    step = Step(1, operators, 0, 0, 0)
    rates = {"peak": 100.0, "bandwidth": 10.0, "launch": 0.5}
    assert step.seconds("forward", **rates) == pytest.approx(4 + 3 + 2 * 0.5)
    assert step.seconds("backward", **rates) == pytest.approx(5.5)
