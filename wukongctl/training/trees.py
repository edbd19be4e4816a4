"""A LightGBM model with the interface of networks: a batch in, one logit per example out."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wukongctl import extras
from wukongctl.data import vectors
from wukongctl.data.atomic import write_atomic
from wukongctl.data.manifest import Manifest
from wukongctl.data.schema import Batch
from wukongctl.errors import RunFailed, UsageError
from wukongctl.training.design import Design

CHECKSUM_BYTES = len("sha256=\n") + 64


def require() -> Any:
    """The module `lightgbm`; raises UsageError if it is not installed or cannot be loaded."""
    try:
        import lightgbm
    except ImportError:
        raise extras.missing("model `lightgbm`", "gbdt", "lightgbm") from None
    except OSError as error:  # it needs the OpenMP library, which slim images lack
        raise UsageError(
            f"LightGBM cannot be loaded: {error}",
            hint="install your system's OpenMP library (`apt-get install libgomp1`, `brew install libomp`)",
        ) from None
    return lightgbm


class Trees(nn.Module):
    """Trained trees and the columns that they read; there are no parameters."""

    def __init__(self, booster: Any, design: Design, threads: int) -> None:
        super().__init__()
        self.booster, self.design, self.threads = booster, design, threads

    def forward(self, batch: Batch) -> Tensor:
        """(B,) float32 logits."""
        matrix = self.design.empty(len(batch.labels))
        self.design.fill(matrix, batch)
        scores = self.booster.predict(matrix, raw_score=True, num_threads=self.threads)
        return torch.from_numpy(scores).float()


def save(path: Path, booster: Any, trees: int) -> None:
    """Write the first `trees` in LightGBM's text format, with a checksum that it ignores, atomically."""
    content = booster.model_to_string(num_iteration=trees).encode()
    write_atomic(path, lambda file: file.write(content + _checksum(content)))


def load(path: Path, dataset: Path, manifest: Manifest, threads: int) -> Trees:
    """Read what `save` wrote; `dataset` is the folder of the prepared data it was trained on.

    Raises UsageError without LightGBM, RunFailed if the file is damaged.
    """
    lightgbm = require()
    design = Design(manifest, vectors.load(dataset, manifest))
    saved = path.read_bytes()
    content = saved[:-CHECKSUM_BYTES]
    # LightGBM itself aborts the process on a damaged file.
    if saved != content + _checksum(content):
        raise RunFailed(f"`{path}` is damaged", hint="train it again with `--force`")
    return Trees(lightgbm.Booster(model_str=content.decode()), design, threads)


def _checksum(content: bytes) -> bytes:
    return f"sha256={hashlib.sha256(content).hexdigest()}\n".encode()
