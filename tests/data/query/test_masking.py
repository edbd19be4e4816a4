"""No secret of a recipe's texts reaches a manifest; what is no secret stays."""

import json
from pathlib import Path

import pytest

from tests.data.test_prepare import own, run, write_rows
from wukongctl.config.dataset import DatasetSpec
from wukongctl.data.query.masking import masked


@pytest.mark.parametrize(
    "text",
    [
        "FROM read_csv('https://b.s3.amazonaws.com/x.csv?X-Amz-Credential=HUSH%2Fus&X-Amz-Signature=HUSH')",
        "FROM 'https://a.blob.core.windows.net/x.parquet?sv=1&sig=HUSH%3D'",
        "FROM $$https://h/x.csv?token=HUSH$$",
        "FROM 'https://me:HUSH@h/x.csv'",
        "FROM read_csv('s3://b/x.csv?s3_secret_access_key=HUSH')",
        "FROM f('host=h;Password = HUSH;AccountKey=HUSH')",
        "https://h/x.zip?access_token=HUSH",
        "https://HUSH@h/x.zip",
    ],
)
def test_secrets_are_masked(text: str) -> None:
    assert "HUSH" not in masked(text)
    assert masked(masked(text)) == masked(text)
    assert masked({"a": [text, 1, None]}) == {"a": [masked(text), 1, None]}


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM t WHERE token = 'red' AND password = 'x'",
        "FROM 'day/design=5/x.parquet'",
        "FROM read_csv('{clicks.csv}', header = true)",
        "https://example.org/x.zip?version=3",
        "who: me@example.org",
    ],
)
def test_other_texts_are_kept(text: str) -> None:
    assert masked(text) == text


def test_a_manifest_keeps_no_secret_and_the_digest_of_the_whole_recipe(tmp_path: Path) -> None:
    write_rows(tmp_path, [{"label": i % 2, "a": i % 3} for i in range(9)])
    spec = own(
        rows="SELECT *, 'x?sig=HUSH' AS b FROM read_csv('{clicks.csv}', header=true, all_varchar=true)"
    )
    prepared = run(spec, tmp_path, tmp_path / "out")
    written = (tmp_path / "out/own/manifest.json").read_text()
    assert "HUSH" not in written
    assert "sig=***" in json.loads(written)["recipe"]["rows"]
    assert DatasetSpec.from_dict(prepared.recipe)
    assert prepared.recipe_digest == spec.content_digest()
    assert prepared.raw is None
    assert prepared.obstacle is not None
    assert "secret" in prepared.obstacle
    assert run(spec, tmp_path, tmp_path / "out") == prepared
