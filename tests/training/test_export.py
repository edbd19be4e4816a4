"""What signature.json says is enough to encode values as `prepare` does."""

import json
import logging
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from wukongctl.config.dataset import DatasetSpec
from wukongctl.data import manifest as manifests
from wukongctl.data.options import Options
from wukongctl.data.pipeline import vocabulary
from wukongctl.data.prepare import prepare
from wukongctl.training.export import _quiet, feature_encodings

ROWS = [("u1", "a|b||c"), ("u2", "c"), ("u1", ""), ("", "b|b|a|d"), ("u3", "zz|a"), ("u9", "q|c|a")]
DATASET: dict[str, Any] = {
    "name": "lists",
    "description": "users and their lists",
    "rows": "SELECT * FROM read_csv('rows.csv', all_varchar=true)",
    "split": {"by": "order", "ratio": {"train": 4, "test": 2}},
    "label": "label",
    "features": [{"type": "categorical", "columns": ["user"]}],
}


def encoded(value: str | None, feature: dict[str, Any], known: dict[str, int]) -> int | list[int]:
    """By the rules of the serving guide."""
    if feature["type"] == "categorical":
        return feature["missing"] if not value else known.get(value, feature["unknown"])
    items = [item for item in (value or "").split(feature["separator"]) if item]
    kept = items[-feature["max_len"] :] if feature["keep"] == "last" else items[: feature["max_len"]]
    return [known.get(item, feature["unknown"]) for item in kept]


@pytest.mark.parametrize("keep", ["last", "first"])
@pytest.mark.parametrize("compat", [None, "bars"])
def test_values_are_encoded_by_the_signature_as_they_were_prepared(
    tmp_path: Path, keep: str, compat: str | None
) -> None:
    lines = [f"{i % 2},{user},{items}" for i, (user, items) in enumerate(ROWS)]
    (tmp_path / "rows.csv").write_text("\n".join(["label,user,items", *lines]) + "\n")
    sequence = {"type": "sequence", "columns": ["items"], "separator": "|", "max_len": 2, "keep": keep}
    content = (
        DATASET | {"features": [*DATASET["features"], sequence]} | ({"compat": compat} if compat else {})
    )
    prepare(DatasetSpec.from_dict(content), Options(tmp_path, out=tmp_path))
    dataset = tmp_path / "lists"
    features = json.loads(json.dumps(feature_encodings(manifests.read(dataset))))
    for position, name in enumerate(("user", "items")):
        table = pq.read_table(dataset / vocabulary.file_name(name))
        known = dict(zip(table["value"].to_pylist(), table["id"].to_pylist(), strict=True))
        assert features[name]["unknown"] not in known.values()
        written = [
            value
            for split in ("train", "test")
            for path in sorted((dataset / split).glob("*.parquet"))
            for value in pq.read_table(path)[name].to_pylist()
        ]
        assert [encoded(row[position], features[name], known) for row in ROWS] == written
    assert (features["items"]["separator"], features["items"]["pad"]) == ("|", 0)


def test_exporters_of_torch_are_silent_meanwhile() -> None:
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = logger.getEffectiveLevel()
    with _quiet():
        assert not logger.isEnabledFor(logging.WARNING)
    assert logger.getEffectiveLevel() == before
