"""A YAML recipe → its typed model, or every problem in it at once, each with `file:line:column`."""

import copy
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from wukongctl.config import plugins
from wukongctl.config.formats import Format, instead_of
from wukongctl.config.positions import Document, KeyPath, Position, parse, parse_scalar
from wukongctl.config.spec import Mismatch, Mistake, Mistakes, Spec
from wukongctl.config.suggestions import closest, did_you_mean, known
from wukongctl.config.wording import of_value
from wukongctl.errors import Problem, RecipeError, UsageError

S = TypeVar("S", bound=Spec)
DISCRIMINATORS = ("name", "type", "by")


class Override(NamedTuple):
    """A value put into a recipe from outside: dotted key, value, and where both were written."""

    key: str
    value: Any
    place: Position


class OtherFormat(RecipeError):
    """A recipe of another format than the one asked for."""

    def __init__(self, problems: list[Problem], document: Document, meant: Format) -> None:
        super().__init__(problems)
        self.document, self.meant = document, meant


def load(path: Path, spec: type[S], overrides: Sequence[str | Override] = ()) -> S:
    """Read `path` as a `spec`, after applying overrides of the form `a.b=value`.

    Raises RecipeError with all problems, UsageError when the file cannot be read.
    """
    return validate(read(path), spec, overrides)


def read(path: Path) -> Document:
    """Parse the YAML of `path`; raises UsageError when the file cannot be read."""
    return parse(text_of(path), str(path))


def text_of(path: Path) -> str:
    """The text of `path`; raises UsageError when the file cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError([_not_utf8(error, str(path))]) from None
    except OSError as error:
        raise UsageError(f"cannot read `{path}`: {(error.strerror or 'unknown error').lower()}") from None


def _not_utf8(error: UnicodeDecodeError, file: str) -> Problem:
    before = error.object[: error.start]
    line, column = before.count(b"\n") + 1, len(before.rpartition(b"\n")[2].decode()) + 1
    what = f"not UTF-8 text: byte 0x{error.object[error.start]:02x}"
    hint = f"save it as UTF-8, for example with `iconv -f LATIN1 -t UTF-8 {file} > utf8.yaml`"
    return Problem(what, file, line, column, hint=hint)


def validate(
    document: Document,
    spec: type[S],
    overrides: Sequence[str | Override] = (),
    complete: Callable[[dict[str, Any]], None] = lambda _: None,
) -> S:
    """Turn a parsed document into a `spec`; raises RecipeError with all problems, in reading order.

    `complete` may add to the values, once the overrides are among them.
    """
    problems = list(document.problems)
    if document.value is None and not problems:
        problems.append(Problem("the file is empty", document.file, 1, 1))
    elif document.value is not None and not isinstance(document.value, dict):
        problems.append(document.problem("not a recipe: expected lines of the form `key: value`", ()))
    if not isinstance(document.value, dict):
        raise RecipeError(problems)
    if other := instead_of(spec, set(document.value)):
        key, wanted, meant = other
        hint = f"run `wukongctl {meant.command} {document.file}`"
        what = f"this is a {meant.title}, not a {wanted.title}"
        problems.append(document.problem(what, (key,), at_key=True, hint=hint))
        raise OtherFormat(problems, document, meant)
    _apply(document, overrides)
    complete(document.value)
    problems += _problems(document, spec)
    if problems:
        raise RecipeError(sorted(dict.fromkeys(problems), key=_position))
    return _validated(document, spec)


def _position(problem: Problem) -> tuple[int, int]:
    return problem.line, problem.column


@contextmanager
def locate_problems(
    source: Path | Document, overrides: Sequence[str | Override] = (), *, at_key: bool = True
) -> Iterator[None]:
    """Make a Mismatch of the recipe `source`, overridden, with its data one RecipeError with all lines,
    and the columns of the keys or of their values."""
    try:
        yield
    except Mismatch as mismatch:
        document = copy.deepcopy(source) if isinstance(source, Document) else read(source)
        _apply(document, overrides)
        problems = [_located(mistake, (), document, at_key=at_key) for mistake in mismatch.mistakes]
        raise RecipeError(sorted(problems, key=_position)) from None


def _validated(document: Document, spec: type[S]) -> S:
    # JSON mode: strict about types, yet a YAML list may fill a tuple.
    return spec.model_validate_json(json.dumps(document.value))


def _problems(document: Document, spec: type[Spec]) -> list[Problem]:
    """Every problem of the values. A misspelt `name` hides those below it: look again with it fixed."""
    found: list[Problem] = []
    while True:
        try:
            _validated(document, spec)
        except ValidationError as error:
            details = error.errors(include_url=False)
            found += [problem for detail in details for problem in _explained(detail, document, spec)]
            fixed = [_fix_tag(detail, document) for detail in details]
            if not any(fixed):
                return found
        else:
            return found


def _fix_tag(detail: ErrorDetails, document: Document) -> bool:
    """Replace an unknown union tag by the closest known one; True when there was one."""
    if detail["type"] != "union_tag_invalid":
        return False
    context = detail["ctx"]
    meant = closest(str(context["tag"]), _names(_tags_expected(detail)))
    if meant is None:
        return False
    holder = document.value
    for step in _path_in(document.value, detail["loc"]):
        holder = holder[step]
    holder[_names(str(context["discriminator"]))[0]] = meant
    return True


def _tags_expected(detail: ErrorDetails) -> str:
    """The tags of a union, quoted; for a model, also those of plug-ins."""
    context = detail.get("ctx") or {}
    also = plugins.models() if plugins.OWN in detail["loc"] else ()
    return ", ".join([str(context["expected_tags"]), *(f"'{name}'" for name in also)])


def _names(quoted: str) -> list[str]:
    """The words in pydantic's `'a', 'b' or 'c'`."""
    return re.findall(r"'([^']*)'", quoted)


def _from_option(text: str) -> Override:
    key, equals, value = text.partition("=")
    if not equals:
        hint = f"write `--set {text}=VALUE`" if text else "for example `--set epochs=2`"
        raise UsageError(f"`--set {text}` has no value", hint=hint)
    return Override(key.strip(), parse_scalar(value), (f"--set {text}", 0, 0))


def _apply(document: Document, overrides: Sequence[str | Override]) -> None:
    for override in overrides:
        _override(document, _from_option(override) if isinstance(override, str) else override)


def _override(document: Document, override: Override) -> None:
    parts = override.key.split(".")
    if "" in parts:
        raise RecipeError([Problem(f"`{override.key}` is not of the form `key.subkey`", *override.place)])
    path: KeyPath = tuple(int(part) if part.isdigit() else part for part in parts)
    parent = document.value
    for depth, step in enumerate(path[:-1]):
        parent = _descend(parent, step, document, path[: depth + 1], override)
    if isinstance(parent, list) and not (isinstance(path[-1], int) and path[-1] < len(parent)):
        raise _refused(override, f"the list has {len(parent)} entries, counted from 0")
    parent[path[-1] if isinstance(parent, list) else str(path[-1])] = override.value
    document.replace(path, override.place)


def _refused(override: Override, why: str) -> RecipeError:
    return RecipeError([Problem(f"cannot set `{override.key}`: {why}", *override.place)])


def _descend(parent: Any, step: str | int, document: Document, path: KeyPath, override: Override) -> Any:
    if isinstance(parent, list) and isinstance(step, int) and step < len(parent):
        child = parent[step]
    elif isinstance(parent, dict):
        if parent.get(str(step)) is None:
            parent[str(step)] = {}
            document.overrides[path] = override.place
        child = parent[str(step)]
    else:
        child = None
    if not isinstance(child, dict | list):
        dotted = ".".join(map(str, path))
        raise _refused(override, f"`{dotted}` holds a single value, not keys")
    return child


def _explained(detail: ErrorDetails, document: Document, spec: type[Spec]) -> list[Problem]:
    """The problems that one pydantic error stands for: none, one, or one per line of a validator of ours."""
    path = _path_in(document.value, detail["loc"])
    cause = (detail.get("ctx") or {}).get("error")
    if isinstance(cause, Mistakes):
        return [_located(mistake, path, document) for mistake in cause.mistakes]
    if detail["type"] == "value_error":
        lines = detail["msg"].removeprefix("Value error, ").splitlines()
        return [document.problem(line, path) for line in lines]
    if detail["type"] == "too_short" and detail["input"]:
        return []  # pydantic counts only entries that are right; the wrong ones have their own problems
    return [_explain(detail, document, spec)]


def _located(mistake: Mistake, section: KeyPath, document: Document, *, at_key: bool = True) -> Problem:
    """At the one of the keys that was overridden, else at the first that is written."""
    paths = [(*section, *path) for path in (mistake.path, *mistake.others)]
    overridden = [path for path in paths if document.is_overridden(path)]
    written = [path for path in paths if path in document.values]
    blamed = (*overridden, *written, *paths)[0]
    return document.problem(mistake.message, blamed, at_key=at_key, hint=mistake.hint)


def _explain(detail: ErrorDetails, document: Document, spec: type[Spec]) -> Problem:
    """One pydantic error in the words of the recipe."""
    loc, kind = detail["loc"], detail["type"]
    name = str(loc[-1]) if loc else ""
    path = _path_in(document.value, loc)
    context = detail.get("ctx") or {}
    match kind:
        case "missing":
            return document.problem(f"missing key `{name}`", path)
        case "union_tag_not_found":
            return document.problem(f"missing key `{_names(str(context['discriminator']))[0]}`", path)
        case "extra_forbidden":
            keys = _known_keys(spec, loc[:-1])
            hint = did_you_mean(name, keys) or _chosen_by(document, loc) or known("keys", keys)
            return document.problem(f"unknown key `{name}`", path, at_key=True, hint=hint)
        case "literal_error":
            return _not_among(document, path, str(detail["input"]), str(context["expected"]))
        case "union_tag_invalid":
            tag_path = (*path, _names(str(context["discriminator"]))[0])
            return _not_among(document, tag_path, str(context["tag"]), _tags_expected(detail))
        case "too_short" if context["field_type"] in ("Tuple", "List"):
            least = "one entry" if context["min_length"] == 1 else f"{context['min_length']} entries"
            return document.problem(
                f"`{'.'.join(map(str, path))}`: expected a list of at least {least}", path
            )
        case _:
            return _of_another_form(detail, document, path)


def _of_another_form(detail: ErrorDetails, document: Document, path: KeyPath) -> Problem:
    """A value of another type, form or range than its key takes; else pydantic's words."""
    key = ".".join(map(str, path)) or "the recipe"
    wording = of_value(key, detail)
    if wording is not None:
        if path == ("model",) and isinstance(detail["input"], str):
            wording = wording._replace(hint=f"write `{{name: {detail['input']}}}`")
        return document.problem(wording.message, path, hint=wording.hint)
    return document.problem(f"`{key}`: {detail['msg'][:1].lower()}{detail['msg'][1:]}", path)


def _chosen_by(document: Document, loc: tuple[str | int, ...]) -> str | None:
    """Which `--set` chose the kind of group, named in `loc` before the key, that does not know the key."""
    parent = _path_in(document.value, loc[:-1])
    group: Any = document.value
    for step in parent:
        group = group[step]
    for path, place in document.overrides.items():
        if path[:-1] == parent and isinstance(group, dict) and loc[-2:-1] == (group.get(str(path[-1])),):
            return f"`{place[0]}` chose a kind without this key"
    return None


def _not_among(document: Document, path: KeyPath, value: str, expected: str) -> Problem:
    dotted = ".".join(map(str, path))
    hint = did_you_mean(value, _names(expected))
    choices = expected.replace("'", "`")
    return document.problem(f"`{dotted}` is `{value}`, expected {choices}", path, hint=hint)


def _path_in(value: Any, loc: tuple[str | int, ...]) -> KeyPath:
    """The part of pydantic's location that exists in the file: it also names union members."""
    path: KeyPath = ()
    for step in loc:
        if isinstance(value, dict) and step in value:
            value = value[str(step)]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            continue
        path = (*path, step)
    return path


def _known_keys(spec: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """Field names of the models that `loc` leads to, for did-you-mean."""
    models = [spec]
    for step in loc:
        tagged = [model for model in models if step in _tags(model)]
        if tagged:
            models = tagged
        elif isinstance(step, str):
            fields = [model.model_fields[step] for model in models if step in model.model_fields]
            if fields:  # else `step` is a key of a dict field, whose models we already hold
                models = [inner for entry in fields for inner in _models(entry.annotation)]
            elif plugins.PLUGIN in loc and (plugin := plugins.models().get(step)):
                models = [plugin.section()]
    return [name for model in models for name in model.model_fields]


def _tags(model: type[BaseModel]) -> set[str]:
    literals = [model.model_fields[key].annotation for key in DISCRIMINATORS if key in model.model_fields]
    return {tag for literal in literals if get_origin(literal) is Literal for tag in get_args(literal)}


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]
