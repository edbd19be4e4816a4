"""The run folder's JSON files: the keys are a contract, old files are read, wrong ones are named."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.test_train import data, recipe, silent
from wukongctl.config.training import TrainingSpec
from wukongctl.errors import UsageError
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.run_record import RunInfo, RunResult, parse_info, parse_result
from wukongctl.training.train import train

assert data  # the fixture of the prepared dataset

INFO_KEYS = {
    "format_version": int, "run": str, "model": str, "curve": str, "seed": int, "recipe": dict,
    "recipe_digest": str,
    "data": {"dataset": str, "fingerprint": str,
             "bayes_logloss": dict.fromkeys(("train", "valid", "test"), float)},
    "flops": {"convention": str, "gflop_per_example": float, "forward_gflop_per_example": float},
    "params": {"dense": int, "embedding": int},
    "execution": {"device": str, "threads": int, "precision": str, "compile": bool, "notes": list},
    "code_digest": str,
    "versions": dict.fromkeys(("wukongctl", "python", "torch", "numpy", "pyarrow", "duckdb"), str),
    "git": dict, "host": {"name": str, "machine": str, "cores": int}, "world_size": int, "argv": list,
}  # fmt: skip
METRICS = {
    "rows": int, "auc": float, "logloss": float, "normalized_entropy": float, "calibration": float,
    "excess_logloss": float,
}  # fmt: skip
RESULT_KEYS = {
    "status": str, "step": int, "best_step": int, "selected_on": str, "examples": int, "passes": float,
    "metrics": {"valid": METRICS, "test": METRICS},
    "seconds": float, "examples_per_second": float, "train_seconds": float, "cpu_seconds": float,
    "mfu": float, "gflops_per_second": float, "peak_gflops_per_second": float, "warnings": list,
}  # fmt: skip
# What the first version wrote: no `execution`, no `cpu_seconds`, no `warnings`.
OLD_INFO = {
    "format_version": 1, "run": "tiny-fm-12345678", "model": "fm", "curve": "fm", "seed": 3,
    "recipe": {"data": "tiny", "model": {"name": "fm", "width": 4}}, "recipe_digest": "1234",
    "data": {"dataset": "tiny", "fingerprint": "f1", "bayes_logloss": None},
    "flops": {"convention": "6 x MAC", "gflop_per_example": 0.001, "forward_gflop_per_example": 0.0003},
    "params": {"dense": 10, "embedding": 20}, "threads": 2, "code_digest": "abcd",
    "versions": {"wukongctl": "0.1.0", "torch": "2.9.0"}, "git": None,
    "host": {"name": "vm", "machine": "x86_64", "cores": 2}, "world_size": 1, "argv": ["wukongctl"],
}  # fmt: skip
OLD_RESULT = {
    "status": "complete", "step": 30, "best_step": 20, "selected_on": "valid logloss", "examples": 900,
    "passes": 1.0, "metrics": {"test": {"rows": 300, "logloss": 0.5}}, "seconds": 1.5,
    "examples_per_second": 600.0,
}  # fmt: skip


def shape(value: Any, like: Any) -> Any:
    """The types of nested values, as deep as `like` goes."""
    if isinstance(value, dict) and isinstance(like, dict):
        return {key: shape(each, like.get(key)) for key, each in value.items()}
    return type(value)


def test_written_files_have_exactly_the_keys_of_the_contract_in_order(data: Path, tmp_path: Path) -> None:
    run = train(recipe(epochs=1), data=data, out=tmp_path, report=silent)
    for name, keys in (("run.json", INFO_KEYS), ("result.json", RESULT_KEYS)):
        written = json.loads((run.folder / name).read_text())
        if written.get("git", {}) is None:  # not in a checkout
            written["git"] = {}
        assert json.dumps(shape(written, keys), default=str) == json.dumps(keys, default=str)
    assert RunFolder(run.folder).info() == run.info
    assert RunFolder(run.folder).result() == run.result


@pytest.mark.parametrize(("parse", "content"), [(parse_info, OLD_INFO), (parse_result, OLD_RESULT)])
def test_files_of_older_and_newer_versions_round_trip(parse: Any, content: Any) -> None:
    newer = content | {"weather": {"sunny": [True, None]}}
    for version in (content, newer):
        assert parse(json.dumps(version), Path("r/x.json")).to_dict() == version


def test_old_run_is_read_without_its_missing_keys() -> None:
    info = parse_info(json.dumps(OLD_INFO), Path("r/run.json"))
    assert (info.gflop, info.seed, info.curve_name, info.recipe_name) == (0.001, 3, "fm", "tiny-fm")
    assert info.execution is info.bayes_logloss("test") is None
    assert info.training_spec() == TrainingSpec.from_dict(OLD_INFO["recipe"])
    result = parse_result(json.dumps(OLD_RESULT), Path("r/result.json"))
    assert (result.warnings, result.skipped_steps, result.cpu_seconds, result.trees) == ([], 0, None, None)
    assert result.metrics["test"] == {"rows": 300, "logloss": 0.5}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": "one"}, "`r/run.json`: `seed` should be a valid integer, not `one`"),
        ({"seed": True}, "`r/run.json`: `seed` should be a valid integer, not `True`"),
        ({"data": {"dataset": "tiny"}}, "`r/run.json` has no `data.fingerprint`"),
        ({"data": "tiny"}, "`r/run.json`: `data` should be an object, not `tiny`"),
        ({"recipe": []}, "`r/run.json`: `recipe` should be an object, not `[]`"),
        ({"flops": {"gflop_per_example": -1}},
         "`r/run.json`: `flops.gflop_per_example` should be greater than or equal to 0, not `-1`"),
        ({"flops": {"gflop_per_example": float("inf")}},
         "`r/run.json`: `flops.gflop_per_example` should be a finite number, not `inf`"),
        ({"versions": {"torch": 2}}, "`r/run.json`: `versions.torch` should be a valid string, not `2`"),
        ({"format_version": 2, "data": 1}, "`r` has run format 2; this version of wukongctl reads 1"),
        ({"format_version": "1"}, "`r/run.json`: `format_version` should be a valid integer, not `1`"),
    ],
)  # fmt: skip
def test_wrong_value_is_reported_with_file_and_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as failure:
        parse_info(json.dumps(OLD_INFO | changes), Path("r/run.json"))
    assert failure.value.message == message
    assert failure.value.hint
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read `r/result.json`: "),
        ('{"status": "comp', "cannot read `r/result.json`: "),
        ("[]", "`r/result.json` is not a JSON object"),
        ("null", "`r/result.json` is not a JSON object"),
        ("{}", "`r/result.json` has no `status`"),
        ('{"status": "fine"}',
         "`r/result.json`: `status` should be 'complete', 'pruned' or 'diverged', not `fine`"),
        ('{"status": "complete", "metrics": {"test": {"auc": "high"}}}',
         "`r/result.json`: `metrics.test.auc` should be a valid number, not `high`"),
        ('{"status": "complete", "warnings": [{"code": "few_updates"}]}',
         "`r/result.json` has no `warnings.0.message`"),
    ],
)  # fmt: skip
def test_damaged_result_is_reported_with_file_and_key(text: str, message: str) -> None:
    with pytest.raises(UsageError) as failure:
        parse_result(text, Path("r/result.json"))
    assert failure.value.message.startswith(message)
    assert "\n" not in failure.value.message


def test_a_folder_without_files_has_no_record(tmp_path: Path) -> None:
    for folder in (RunFolder(tmp_path), RunFolder(tmp_path / "none"), RunFolder(Path(__file__))):
        assert folder.info() is folder.result() is None
        assert not folder.is_complete
    folder = RunFolder(tmp_path)
    folder.write_info(RunInfo.model_validate(OLD_INFO))
    folder.write_result(RunResult.model_validate(OLD_RESULT))
    assert json.loads((tmp_path / "run.json").read_text()) == OLD_INFO
    assert json.loads((tmp_path / "result.json").read_text()) == OLD_RESULT
    assert folder.is_complete
    (tmp_path / "result.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"cannot read `.*result\.json`"):
        folder.result()
