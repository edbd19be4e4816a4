"""docs/reference/python.md from the code: `python -m tests.api.reference > docs/reference/python.md`."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import wukongctl

API = Path(wukongctl.__file__).parent / "api"
INTRODUCTION = """\
# Python API

What the commands do, for scripts and notebooks: `import wukongctl as wk`. Generated from the code. The
[notebook](../guides/notebook.ipynb) goes from a made table to a scaling law.

```python
import wukongctl as wk

clicks = wk.load("clicks")  # a prepared dataset, data/clicks
run = wk.train("wukong", clicks, seed=1)  # default rules; or a recipe, its path or name
run.metrics["test"]["auc"]
run.predict(frame)  # a table of pandas, polars or Arrow
```

Each name is imported when it is first used, so that `import wukongctl` takes no time. An error has the
message, the problems and the hint that the command line prints; the classes are in `wukongctl.errors`.
pandas and polars are not installed with wukongctl: `to="pandas"` and `to="polars"` need them.

A `Recipe` is the path of a recipe or the name of a shipped one, the name of a model, a mapping with the
keys of a recipe, or `Run.recipe`. A `Frame` is a table of pyarrow, pandas or polars, a mapping of columns,
or a list of mappings.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *(section for name in wukongctl.__all__ for section in _sections(name))])


def _sections(name: str) -> Iterator[str]:
    module = ast.parse((API / f"{wukongctl._MODULES[name]}.py").read_text(encoding="utf-8"))
    (node,) = [each for each in module.body if getattr(each, "name", None) == name]
    yield f"## {name}\n"
    if isinstance(node, ast.FunctionDef):
        yield f"```python\n{_signature(node, f'wk.{name}')}\n```\n"
        yield f"{_docstring(node)}\n"
        return
    assert isinstance(node, ast.ClassDef)
    methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
    public = [each for each in methods if not each.name.startswith("_")]
    for init in (each for each in methods if each.name == "__init__"):
        yield f"```python\n{_signature(init, f'wk.{name}')}\n```\n"
    yield f"{_docstring(node)}\n"
    for each in filter(_is_property, public):
        returned = _type(each.returns) if each.returns else ""
        yield f"- `{each.name}: {returned}`. {' '.join(_docstring(each).split())}"
    yield ""
    for each in public:
        if not _is_property(each):
            yield f"### {name}.{each.name}\n\n```python\n{_signature(each, each.name)}\n```\n"
            yield f"{_docstring(each)}\n"


def _docstring(node: ast.ClassDef | ast.FunctionDef) -> str:
    text = ast.get_docstring(node)
    assert text, f"{node.name} has no docstring"
    return inspect.cleandoc(text)


def _is_property(node: ast.FunctionDef) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "property" for each in node.decorator_list)


def _signature(node: ast.FunctionDef, name: str) -> str:
    """As it is written, one parameter a line where it is long."""
    returns = f" -> {_type(node.returns)}" if node.returns and node.name != "__init__" else ""
    parameters = list(_parameters(node.args))
    flat = f"{name}({', '.join(parameters)}){returns}"
    return flat if len(flat) < 100 else f"{name}(\n    " + ",\n    ".join(parameters) + f",\n){returns}"


def _parameters(arguments: ast.arguments) -> Iterator[str]:
    plain = [each for each in arguments.args if each.arg != "self"]
    defaults = [*[None] * (len(plain) - len(arguments.defaults)), *arguments.defaults]
    for argument, default in zip(plain, defaults, strict=True):
        yield _parameter(argument, default)
    yield from ["*"] if arguments.kwonlyargs else []
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _parameter(argument, default)
    if arguments.kwarg is not None:
        yield f"**{_parameter(arguments.kwarg, None)}"


def _type(annotation: ast.expr) -> str:
    return ast.unparse(annotation).strip("'")


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {_type(argument.annotation)}" if argument.annotation else ""
    return argument.arg + kind + (f" = {ast.unparse(default)}" if default else "")


if __name__ == "__main__":
    print(page(), end="")
