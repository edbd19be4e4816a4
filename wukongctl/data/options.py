"""How to prepare a dataset, apart from what its recipe says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wukongctl.data.progress import ReportProgress, silent

EngineName = Literal["local", "ray"]


@dataclass(frozen=True)
class Options:
    """The options of one preparation.

    `source` is a folder, file or archive with the raw files; without it they are downloaded, or read beside
    the recipe. `limit_rows` keeps the first rows of each SELECT. Without `verify`, failed checks are recorded
    in the manifest instead of raised. With `refresh`, files without a published checksum are downloaded
    again. `engine` says where the parts of the raw files are processed; `memory_limit` and `threads` apply to
    each part.
    """

    recipe_dir: Path
    """Folder of the recipe; relative paths start here."""
    out: Path = Path("data")
    """Folder of prepared datasets."""
    source: Path | None = None
    verify: bool = True
    memory_limit: str | None = None
    threads: int | None = None
    limit_rows: int | None = None
    force: bool = False
    refresh: bool = False
    engine: EngineName = "local"
    report: ReportProgress = silent
