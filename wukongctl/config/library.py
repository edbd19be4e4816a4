"""Recipes by name: `frappe`, `frappe/wukong` or a path, with either file ending."""

from pathlib import Path

import wukongctl
from wukongctl.config.suggestions import did_you_mean, is_folder, no_file, similar_file
from wukongctl.errors import UsageError

ENDINGS = (".yaml", ".yml")
TABLES = (".csv", ".tsv", ".txt", ".parquet", ".json", ".jsonl", ".ndjson", ".gz")
POINTS_ENDING = ".csv"


def root() -> Path:
    """The shipped recipes: inside an installed wheel, or at the top of the repository."""
    package = Path(wukongctl.__file__).parent
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def names(kind: str | None = None) -> list[str]:
    """Names of all shipped recipes; `kind` "datasets" gives those without their folder."""
    base = root() / kind if kind else root()
    found = (path for path in base.rglob("*") if path.suffix in ENDINGS)
    return sorted(path.relative_to(base).with_suffix("").as_posix() for path in found)


def find(name: str, kind: str | None = None) -> Path:
    """The file behind a path or a shipped name; raises UsageError with the closest name."""
    path, given = Path(name), name
    exists = _is_file(path)
    if exists and kind == "datasets" and path.suffix in TABLES:
        raise UsageError(
            f"`{path}` is a table, not a recipe",
            hint=f"run `wukongctl datasets init {path} > {path.name.partition('.')[0]}.yaml` to get one",
        )
    if exists or path.suffix in ENDINGS:
        if exists:
            return path
        name = path.with_suffix("").as_posix().removeprefix("recipes/")
        if kind:
            name = name.removeprefix(f"{kind}/")
    base = root() / kind if kind else root()
    for ending in ENDINGS:
        shipped = base / f"{name}{ending}"
        if _is_file(shipped):
            return shipped
    if path.suffix in ENDINGS and given.startswith((".", "/", "~")):
        raise no_file(given)
    what = "dataset" if kind == "datasets" else "recipe"
    if is_folder(path):
        raise UsageError(f"`{path}` is a folder, not a recipe", hint=_inside(path, what))
    hint = did_you_mean(name, names(kind)) or f"run `wukongctl {what}s ls` to see those that ship"
    raise UsageError(f"there is no {what} `{path}`", hint=_own(path) or hint)


def _own(path: Path) -> str | None:
    """`did you mean ...?` for the recipe beside a missing `path` whose name is closest."""
    try:
        return similar_file(path, [file for file in path.parent.iterdir() if file.suffix in ENDINGS])
    except (OSError, ValueError):
        return None


def _inside(folder: Path, what: str) -> str:
    """The recipes to name instead of their folder."""
    found = sorted(path for path in folder.iterdir() if path.suffix in ENDINGS)
    named = ", ".join(f"`{path}`" for path in found[:3])
    return f"name a file in it: {named}" if found else f"run `wukongctl {what}s ls` to see those that ship"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for the file system
        return False


def find_points(name: str) -> Path:
    """The CSV of points behind a path or a shipped name such as `paper/table5`; raises UsageError."""
    path = Path(name)
    if path.suffix.lower() in TABLES or path.is_file():
        return path
    shipped = root() / f"{name}{POINTS_ENDING}"
    if shipped.is_file():
        return shipped
    known = [
        found.relative_to(root()).with_suffix("").as_posix() for found in root().rglob(f"*{POINTS_ENDING}")
    ]
    raise UsageError(
        f"there are no points `{name}`", hint=did_you_mean(name, known) or "give the path of a table"
    )


def report_beside(points: Path) -> Path | None:
    """The report recipe of the same name beside a CSV of points, if there is one."""
    found = (points.with_suffix(ending) for ending in ENDINGS)
    return next((path for path in found if path.is_file()), None)
