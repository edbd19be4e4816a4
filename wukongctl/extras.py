"""Optional dependencies: one error, whose hint installs what is missing."""

from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec

from wukongctl.errors import UsageError

COMPLETED_BY = {"distributed": " && pip install --no-deps torchrec==1.8.0"}
"""TorchRec requires the CUDA build of FBGEMM, which must not replace the one for CPU."""


def require(what: str, extra: str, *modules: str) -> None:
    """Raise UsageError if one of `modules`, which `what` needs, is not installed; nothing is imported."""
    for module in modules:
        if not is_installed(module):
            raise missing(what, extra, module)


def missing(what: str, extra: str, module: str) -> UsageError:
    """The error for `what` (such as `--onnx`), which needs `module` of an extra of this package."""
    return UsageError(f"{what} needs the extra `{extra}`: `{module}` is not installed", hint=install(extra))


def install(extra: str) -> str:
    """The command that installs an extra, with the versions that this package asks for."""
    packages = _requirements(extra) or [f"wukongctl[{extra}]"]
    return f"run `pip install {' '.join(map(repr, packages))}{COMPLETED_BY.get(extra, '')}`"


def _requirements(extra: str) -> list[str]:
    """Of an installed package; pip cannot find `wukongctl[...]` where it was installed from a checkout."""
    try:
        all_requirements = requires("wukongctl") or []
    except PackageNotFoundError:
        return []
    split = (requirement.partition(";") for requirement in all_requirements)
    wanted = (f"extra == '{extra}'", f'extra == "{extra}"')
    return [package.strip() for package, _, marker in split if any(text in marker for text in wanted)]


def is_installed(module: str) -> bool:
    """Whether `module` could be imported; nothing is imported but its parents."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a parent is missing, or the module is replaced by None
        return False
