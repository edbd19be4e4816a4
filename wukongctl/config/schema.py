"""JSON Schema of the recipe formats, for completion and checks in an editor."""

from typing import Any

from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.spec import Spec
from wukongctl.config.training import TrainingSpec

FORMATS: dict[str, type[Spec]] = {"training": TrainingSpec, "dataset": DatasetSpec}


def json_schema(name: str) -> dict[str, Any]:
    """The schema of one format of `FORMATS`."""
    return FORMATS[name].model_json_schema()


def format_of(keys: set[str]) -> type[Spec]:
    """Which format a file with these top-level keys means to be: datasets alone have features."""
    return DatasetSpec if "features" in keys or "files" in keys else TrainingSpec
