"""wukongctl: from a public click log to a scaling law.

    import wukongctl as wk

`wk.prepare`, `wk.load`, `wk.build`, `wk.flops`, `wk.train`, `wk.Run` and `wk.fit_law` do what the commands
do. Each is imported when it is first used: `import wukongctl` takes no time, and counting FLOPs imports no
DuckDB.
"""

from importlib import import_module

__version__ = "0.1.0"

_MODULES = {
    "Dataset": "datasets",
    "Law": "laws",
    "Run": "runs",
    "build": "networks",
    "fit_law": "laws",
    "flops": "networks",
    "load": "datasets",
    "prepare": "preparation",
    "train": "runs",
}
"""Public name → its module of `wukongctl.api`; `__init__.pyi` has the same names for type checkers."""
__all__ = ["Dataset", "Law", "Run", "build", "fit_law", "flops", "load", "prepare", "train"]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"wukongctl.api.{_MODULES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
