"""The known word that a misspelt one most likely stands for."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from wukongctl.errors import UsageError

SYNONYMS = {"gpu": "cuda", "fp32": "float32", "bf16": "bfloat16", "trees": "lightgbm", "gbdt": "lightgbm"}
"""Words that other tools use; they look like the wrong ones of ours."""
FEW = 12


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """`did you mean ...?` for the closest candidate, ignoring case; None when nothing is close."""
    found = closest(word, candidates)
    return None if found is None else f"did you mean `{found}`?"


def closest(word: str, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The candidate most like `word`, ignoring case; None when nothing is close."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    if (meant := SYNONYMS.get(word.lower())) in by_lower:
        return meant
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    swapped = [lower for lower in by_lower if sorted(lower) == sorted(word.lower())]
    return next((by_lower[lower] for lower in (*close, *swapped)), None)


def known(what: str, candidates: Iterable[str]) -> str | None:
    """The candidates themselves, if they are few."""
    names = sorted(set(candidates))
    return f"known {what}: {', '.join(f'`{name}`' for name in names)}" if 0 < len(names) <= FEW else None


def similar_file(path: Path, among: Iterable[Path] | None = None) -> str | None:
    """`did you mean ...?` for the file beside a missing `path`, or `among` others, with the closest name."""
    try:
        # Of two similar names the one with the same suffix.
        files = sorted(
            path.parent.iterdir() if among is None else among, key=lambda f: f.suffix == path.suffix
        )
    except (OSError, ValueError):  # no folder either
        return None
    by_stem = {file.stem: file for file in files if not file.name.startswith(".")}
    found = closest(path.stem, by_stem, cutoff=0.75)
    return None if found is None else f"did you mean `{by_stem[found]}`?"


def no_file(written: str | Path) -> UsageError:
    """The error for a path, as `written`, that has to be a file."""
    path = Path(written)
    if is_folder(path):
        return UsageError(f"`{path}` is a folder, not a file", hint=_files_in(path))
    folder = path.parent
    nothing = f"there is no folder `{folder}`" if not is_folder(folder) else None
    return UsageError(
        f"there is no file `{written}`", hint=similar_file(path) or nothing or _files_in(folder)
    )


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder; False for a name that no file can have."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _files_in(folder: Path) -> str:
    """The files in a folder, to name one of."""
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError:
        names = []
    listed = ", ".join(f"`{name}`" for name in names[: FEW // 2])
    more = f" and {len(names) - FEW // 2} more" if len(names) > FEW // 2 else ""
    return f"the files in `{folder}` are {listed}{more}" if names else f"`{folder}` has no files"
