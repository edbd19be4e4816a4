"""Print a dataset: license and, from its manifest, splits, features and sources."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

BARS = "▁▂▃▄▅▆▇█"
NAMED_FILES = 6


def show_recipe(console: "Console", recipe: Mapping[str, Any]) -> None:
    """Name, license and files, from a recipe as plain values."""
    console.print(f"{recipe['name']}: {recipe['description']}", soft_wrap=True)
    terms = recipe.get("license")
    lines = {
        "homepage": recipe.get("homepage"),
        "cite": recipe.get("citation"),
        "license": _terms(terms) if terms else None,
        "files": _listed(recipe.get("files") or ()),
        "downloads": _listed(recipe.get("downloads") or ()),
        "manual download": recipe.get("instructions"),
    }
    for name, value in lines.items():
        if value:
            console.print(f"  {name}: {' '.join(value.split())}", soft_wrap=True)


def show_manifest(console: "Console", manifest: Mapping[str, Any]) -> None:
    """Splits, features, sources, notes and fingerprint of a prepared dataset."""
    statistics = manifest.get("statistics")
    _splits(console, manifest["splits"])
    _features(console, manifest["features"], statistics["features"] if statistics else {})
    _sources(console, manifest["sources"])
    if manifest.get("limit_rows"):
        console.print(f"note: only the first {manifest['limit_rows']:,} rows of each SELECT", soft_wrap=True)
    for problem in manifest["problems"]:
        console.print(f"note: {problem}", soft_wrap=True)
    console.print(f"{_verified(manifest)}; fingerprint {manifest['fingerprint']}", soft_wrap=True)


def bars(counts: Iterable[int]) -> str:
    """A one-line histogram; zero is blank, any other count has a bar."""
    heights = list(counts)
    highest = max(heights, default=0)
    return "".join(" " if not n else BARS[(n * len(BARS) - 1) // highest] for n in heights)


def _terms(terms: Mapping[str, Any]) -> str:
    return f"{terms['name']} ({terms['url']})" if terms.get("url") else str(terms["name"])


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - NAMED_FILES} more" if len(every) > NAMED_FILES else ""
    return ", ".join(every[:NAMED_FILES]) + more


def _splits(console: "Console", splits: Mapping[str, Any]) -> None:
    from wukongctl.cli.tables import table

    known = any(split["bayes_logloss"] is not None for split in splits.values())
    shown = table("split", "rows", "positives", "rate", *(["Bayes LogLoss"] if known else []))
    for name, split in splits.items():
        cells = [f"{split['rows']:,}", f"{split['positives']:,}", f"{split['positives'] / split['rows']:.4f}"]
        if known:
            bayes = split["bayes_logloss"]
            cells.append("–" if bayes is None else f"{bayes:.5f}")
        shown.add_row(name, *cells)
    console.print(shown)


def _features(console: "Console", features: Iterable[Mapping[str, Any]], counted: Mapping[str, Any]) -> None:
    """Rates and distributions of the features, in two tables: one is too wide for a terminal."""
    from wukongctl.cli.tables import table

    if not counted:
        plain = table("feature", "type", "embedding rows")
        for feature, _ in _with_encoded(features):
            plain.add_row(feature["name"], feature["type"], _count(feature["rows"]))
        console.print(plain)
        return
    splits = list(next(iter(counted.values()))["missing"])
    rates = table("feature", "rows", "seen", "covered", "missing", *(f"OOV {s}" for s in splits), "AUC")
    shapes = table("feature", "type", "train values")
    shapes.columns[1].justify = shapes.columns[2].justify = "left"
    for feature, encoded in _with_encoded(features):
        found = counted[feature["name"]]
        unknown = found["unknown"] or {}
        cells = [_share(unknown.get(split)) for split in splits]
        kind = f"{feature['type']}, {feature['encoding']}" if encoded else feature["type"]
        shapes.add_row(feature["name"], kind, _shape(found))
        rates.add_row(
            feature["name"],
            _count((encoded or feature)["rows"]),
            _count(found["seen"]),
            _share(found["coverage"]),
            _share(found["missing"].get("train")),
            *cells,
            _auc(found.get("auc")),
        )
    console.print(rates)
    console.print(shapes)


def _with_encoded(
    features: Iterable[Mapping[str, Any]],
) -> list[tuple[Mapping[str, Any], Mapping[str, Any] | None]]:
    """Each feature of the recipe with the column that encodes it, where it has one."""
    every = list(features)
    encoded = {feature["of"]: feature for feature in every if feature["of"]}
    return [(feature, encoded.get(feature["name"])) for feature in every if not feature["of"]]


def _shape(found: Mapping[str, Any]) -> str:
    """The histogram, with its most frequent value or its range."""
    drawn = bars(bar["count"] for bar in found["histogram"])
    if found["top"]:
        top = found["top"][0]
        return f"{drawn} `{_short(top['value'])}` {top['count']:,}×"
    if found["minimum"] is None:
        return drawn
    return f"{drawn} {found['minimum']:.4g} … {found['maximum']:.4g}"


def _sources(console: "Console", sources: Iterable[Mapping[str, Any]]) -> None:
    from wukongctl.cli.tables import table

    shown = table("raw file", "bytes", "checksum", "published")
    shown.columns[2].justify = "left"
    for source in sources:
        kind = "md5" if source["expected_md5"] and not source["expected_sha256"] else "sha256"
        published = "matches" if source["verified"] else "differs" if source[f"expected_{kind}"] else "–"
        shown.add_row(source["file"], f"{source['bytes']:,}", f"{kind} {source[kind]}", published)
    if shown.row_count:
        console.print(shown)


def _verified(manifest: Mapping[str, Any]) -> str:
    if manifest["verified"] is None:
        return "no published checksums or counts"
    if manifest["limit_rows"] and not manifest["verified"]:
        return f"counts NOT VERIFIED: only the first {manifest['limit_rows']:,} rows of each SELECT"
    return (
        "all published checksums and counts match" if manifest["verified"] else "NOT VERIFIED: see the notes"
    )


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _auc(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _short(text: str) -> str:
    printable = "".join(character if character.isprintable() else "·" for character in text)
    return printable if len(printable) <= 16 else f"{printable[:15]}…"
