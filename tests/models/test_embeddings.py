import pytest
import torch

from wukongctl.data.schema import Schema, SequenceColumn
from wukongctl.models.embeddings import Embeddings


def test_new_embeddings_have_rows_of_unit_length_on_average() -> None:
    embeddings = Embeddings(Schema(("a",), (), (), (4000,)), 64)
    assert embeddings.table.weight.norm(dim=1).mean().item() == pytest.approx(1.0, abs=0.02)


def test_the_standard_deviation_can_be_chosen() -> None:
    embeddings = Embeddings(Schema(("a",), (), (), (4000,)), 64, init_std=0.01)
    assert embeddings.table.weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_a_sequence_is_the_mean_of_what_is_there() -> None:
    embeddings = Embeddings(Schema(("a",), (), (SequenceColumn("s", 1, 3),), (3, 4)), 2)
    table = embeddings.table.weight
    out = embeddings(torch.tensor([[1, 2, 3, 0], [2, 0, 0, 0]]))
    torch.testing.assert_close(out[0], torch.stack([table[1], (table[5] + table[6]) / 2]))
    torch.testing.assert_close(out[1], torch.stack([table[2], torch.zeros(2)]))


def test_sparse_gradients_touch_only_the_rows_used() -> None:
    embeddings = Embeddings(Schema(("a", "b"), (), (), (3, 4)), 2, sparse=True)
    embeddings(torch.tensor([[1, 2]])).sum().backward()
    gradient = embeddings.table.weight.grad
    assert gradient is not None
    assert gradient.is_sparse
    assert sorted(gradient._indices()[0].tolist()) == [1, 5]
