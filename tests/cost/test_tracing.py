"""Bytes and operators of one example, against hand counts."""

import pytest

from wukongctl.config.training import TrainingSpec
from wukongctl.cost.flops import FlopReport, analyze
from wukongctl.data.schema import Schema

SCHEMA = Schema(tuple("abcde"), (), (), (10,) * 5)


def counted(optimizer: dict[str, object] | None = None, **model: object) -> FlopReport:
    spec = TrainingSpec.from_dict(
        {"data": "synthetic", "model": model, "optimizer": optimizer or {}, "batch_size": 100}
    )
    return analyze("x", spec, SCHEMA, embedding_rows_known=True)


def test_an_mlp_by_hand() -> None:
    """5 embeddings of width 4 → 7 → 1: float32 is 4 bytes, ids are int32."""
    report = counted(name="mlp", width=4, hidden=[7])
    modules = {module.name: module for module in report.modules}
    assert report.look_ups == modules["embeddings.table"].look_ups == 4 * 5 * 4
    mlp = modules["mlp"]
    # Saved for the backward pass: the input of each Linear, the second of which is the ReLU's output.
    assert mlp.activations == 4 * (20 + 7)
    weights = 4 * (20 * 7 + 7 + 7 + 1)
    # Two products read their input and weights and write their output; ReLU reads and writes 7.
    per_example = 4 * (20 + 7 + 7 + 1 + 7 + 7)
    assert mlp.traffic == weights + 100 * per_example
    assert mlp.intensity == pytest.approx(2 * (20 * 7 + 7) * 100 / mlp.traffic)
    assert report.uncounted["relu"] == (1, 7)
    assert "addmm" not in report.uncounted


def test_memory_with_adam_and_with_rowwise_adagrad() -> None:
    dense, table, rows = 20 * 7 + 7 + 7 + 1, 50 * 4, 50
    adam = counted({"embedding": {"name": "adam"}}, name="mlp", width=4, hidden=[7]).memory
    assert adam.weights == adam.gradients == 4 * (dense + table)
    assert adam.optimizer == 2 * adam.weights
    adagrad = counted(name="mlp", width=4, hidden=[7]).memory
    assert adagrad.optimizer == 4 * (2 * dense + rows)
    assert adagrad.gradients == 4 * (dense + table)  # 100 examples touch more than every row
    assert adam.total == adam.weights * 4 + 100 * adam.activations


def test_uncounted_operators_are_listed() -> None:
    """FM has no matrix product, only sums and squares."""
    report = counted(name="fm", width=4)
    assert report.counts.macs == 0
    assert {"sum", "pow", "sub", "div"} <= set(report.uncounted)
    assert report.elementwise == sum(elements for _, elements in report.uncounted.values()) > 2 * 5 * 4
    assert {"embedding", "cat", "view"}.isdisjoint(report.uncounted)


def test_parts_computed_by_one_product_share_their_bytes() -> None:
    spec = {"name": "wukong", "width": 4, "layers": 2, "n_F": 3, "n_L": 2, "hidden": [8]}
    report = counted(**spec)
    first, second = (m for m in report.modules if m.name in {"layers.0.mlp", "layers.1.mlp"})
    assert first.activations > 0
    assert second.traffic > 0
    unmoved = {module.name for module in report.modules if module.traffic == 0}
    # One product computes them together with the factorization machine's, whose row has the bytes.
    assert unmoved == {"layers.0.lcb", "layers.1.lcb"}
    assert all(module.intensity is None for module in report.modules if module.name in unmoved)


def test_pf_days_of_the_papers_largest_run() -> None:
    """108 GFLOP/example on 146 billion examples are 182.5 PF-days."""
    report = counted(name="mlp", width=4, hidden=[7])
    assert report.pf_days(146 * 10**9) * 108 / report.counts.gflop == pytest.approx(182.5)
