import pytest
import torch

from wukongctl.data.schema import Batch, Schema, SequenceColumn
from wukongctl.models.embeddings import (
    Embeddings,
    FieldEmbeddings,
    NumericEmbedding,
    embedding_tables,
    fill_vectors,
    frozen_vectors,
)


def test_initial_embeddings_have_unit_length_on_average() -> None:
    embeddings = Embeddings(Schema(("a",), (), (), (4000,)), 64)
    assert embeddings.table.weight.norm(dim=1).mean().item() == pytest.approx(1.0, abs=0.02)


def test_the_standard_deviation_can_be_chosen() -> None:
    embeddings = Embeddings(Schema(("a",), (), (), (4000,)), 64, init_std=0.01)
    assert embeddings.table.weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_sequence_is_the_mean_of_its_values() -> None:
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


def test_repeated_feature_has_its_own_rows_after_the_others() -> None:
    schema = Schema(("a", "b"), (), (SequenceColumn("s", 0, 2),), (3, 4))
    embeddings = Embeddings(schema, 2, features=("a", "b", "s", "s", "a"))
    table = embeddings.table.weight
    assert table.shape == (3 + 4 + 3, 2)  # the second `s` and the second `a` share, as the first ones do
    out = embeddings(torch.tensor([[1, 3, 2, 0]]))[0]
    torch.testing.assert_close(out, table[torch.tensor([1, 6, 2, 9, 8])])


def test_only_the_named_features_take_memory() -> None:
    embeddings = Embeddings(Schema(("a", "b", "c"), (), (), (3, 4, 5)), 2, features=("c", "a"))
    assert embeddings.table.weight.shape == (8, 2)
    out = embeddings(torch.tensor([[1, 2, 3]]))[0]
    torch.testing.assert_close(out, embeddings.table.weight[torch.tensor([3, 5 + 1])])


def test_a_numeric_feature_is_its_value_times_a_vector() -> None:
    numeric = NumericEmbedding((0, 1, 0), 2)
    out = numeric(torch.tensor([[2.0, -1.0]]))[0]
    torch.testing.assert_close(out, numeric.weight * torch.tensor([[2.0], [-1.0], [2.0]]))


def test_fields_are_ids_then_numeric_features_then_repetitions() -> None:
    schema = Schema(("a",), ("x",), (), (3,))
    fields = FieldEmbeddings(schema, 2, repeated=("x", "a"))
    assert fields.n == 2
    batch = Batch(torch.tensor([[1]]), torch.tensor([[2.0]]), torch.zeros(1))
    out, table = fields(batch)[0], fields.table.weight
    assert isinstance(fields.numeric, NumericEmbedding)
    assert fields.repeated_numeric is not None
    x, again = 2 * fields.numeric.weight[0], 2 * fields.repeated_numeric.weight[0]
    torch.testing.assert_close(out, torch.stack([table[1], x, table[3 + 1], again]))
    assert [table.numel() for table in embedding_tables(fields)] == [12]


def frozen() -> tuple[Embeddings, torch.Tensor]:
    """Columns a, b and a sequence that shares b's frozen vectors, with `b` named twice."""
    schema = Schema(("b", "a"), (), (SequenceColumn("s", 0, 2),), (4, 3), (5, 0))
    embeddings = Embeddings(schema, 2, features=("b", "a", "s", "b"))
    vectors = torch.cat([torch.zeros(2, 5), torch.randn(2, 5)])
    fill_vectors(embeddings, {0: vectors})
    return embeddings, vectors


def test_frozen_vector_keeps_its_position_and_is_projected() -> None:
    embeddings, vectors = frozen()
    table = embeddings.table.weight
    assert table.shape == (3, 2)
    first, shared, again = (module.projection.weight for module in frozen_vectors(embeddings))
    out = embeddings(torch.tensor([[2, 1, 2, 3], [1, 2, 3, 0]]))
    expected = [first @ vectors[2], table[1], shared @ (vectors[2] + vectors[3]) / 2, again @ vectors[2]]
    torch.testing.assert_close(out[0], torch.stack(expected))
    torch.testing.assert_close(
        out[1], torch.stack([torch.zeros(2), table[2], shared @ vectors[3], torch.zeros(2)])
    )


def test_frozen_vectors_are_neither_copied_nor_learned() -> None:
    embeddings, vectors = frozen()
    assert {module.vectors.data_ptr() for module in frozen_vectors(embeddings)} == {vectors.data_ptr()}
    assert sorted(embeddings.state_dict()) == [
        "frozen.0.projection.weight",
        "frozen.1.projection.weight",
        "frozen.2.projection.weight",
        "table.weight",
    ]
    assert embeddings.macs("e") == {"e.frozen": 3 * 5 * 2}


def test_frozen_feature_has_zero_initial_linear_weight() -> None:
    fields = FieldEmbeddings(Schema(("a",), (), (), (4,), (3,)), 2, linear=True)
    fill_vectors(fields, {0: torch.randn(4, 3)})
    out = fields(Batch(torch.tensor([[2]]), torch.zeros(1, 0), torch.zeros(1)))
    assert out.shape == (1, 1, 3)
    assert out[0, 0, -1] == 0
    assert out[0, 0, :-1].abs().min() > 0


def test_missing_or_wrong_vectors_are_errors() -> None:
    embeddings = Embeddings(Schema(("a",), (), (), (4,), (3,)), 2)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        embeddings(torch.tensor([[2]])).sum().item()
    with pytest.raises(ValueError, match="table 0"):
        fill_vectors(embeddings, {0: torch.randn(4, 2)})
