"""What people type wrong: exit code, first line and hint of each, and that nothing is written.

Every command that a hint names has to be one that the command line takes.
"""

import gzip
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR

import click
import pytest

from tests.cli.conftest import Wukong, typed
from wukongctl.cli import cli

HEADER = "time,user,item,site,price,clicked\n"
LINES = [
    f"2026-01-{1 + row // 20:02} 10:00:{row % 60:02},u{row % 37},i{row % 29},s{row % 5},{row % 11}.5,"
    f"{int(row % 7 % 3 == 1)}\n"
    for row in range(400)
]
TABLE = HEADER + "".join(LINES)
MODEL = """\
data: clicks
defaults: fixed
model: {name: mlp, width: 4, hidden: [8]}
batch_size: 64
epochs: 1
threads: 1
"""


def tables() -> Iterator[tuple[str, bytes]]:
    """Tables that are not what they should be: name and content."""
    text = TABLE.encode()
    yield "image.csv", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
    yield "random.csv", bytes(range(256)) * 16
    yield "empty.csv", b""
    yield "header.csv", HEADER.encode()
    yield "short.csv", HEADER.encode() + "".join([*LINES[:99], "1,2,3\n", *LINES[99:]]).encode()
    yield "quote.csv", HEADER.encode() + "".join([*LINES[:99], 'a,"b,c\n', *LINES[99:] * 30]).encode()
    yield "ends.csv", text.replace(b"\n", b"\r\r\n")
    yield "mixed.csv", HEADER.encode().replace(b"\n", b"\r\n") + "".join(LINES).encode()
    yield "cut.csv.gz", gzip.compress(text, mtime=0)[:-2000]
    yield "damaged.csv.gz", gzip.compress(text, mtime=0)[:600] + b"\0" * 600
    yield "unlabelled.csv", "".join(f"{line.rpartition(',')[0]}\n" for line in TABLE.splitlines()).encode()
    yield "few.csv", "".join([HEADER, *LINES[:3]]).encode()
    yield "broken.json", b'{"item": 1, "clicked": 0}\n{"item": 2'
    yield "semicolons.csv", text.replace(b",", b";")
    grades = (f"{line[:-2]}{row % 5}\n" for row, line in enumerate(LINES))
    yield "grades.csv", HEADER.encode() + "".join(grades).encode()
    yield "points.csv", b"size,loss\n1,2\n2,1.5\n4,1.2\n8,1.1\n"
    yield "words.csv", b"params,loss\n1e6,two\n2e6,1.9\n3e6,1.8\n"


def recipes(described: str) -> Iterator[tuple[str, bytes]]:
    """Recipes with a mistake each, from the one that `datasets init` wrote and from a training recipe."""

    def dataset(old: str, new: str, name: str = "other") -> bytes:
        assert old in described
        return described.replace(old, new).replace("name: clicks\n", f"name: {name}\n").encode()

    yield "lable.yaml", dataset("label: clicked", "lable: clicked")
    yield "column.yaml", dataset("- site", "- sites")
    yield "kind.yaml", dataset("type: numeric", "type: number")
    yield "texts.yaml", dataset("type: categorical", "type: numeric")
    yield "gone.yaml", dataset("clicks.csv", "gone.csv")
    yield "semicolons.yaml", dataset("clicks.csv", "semicolons.csv")
    yield "grades.yaml", dataset("clicks.csv", "grades.csv")
    yield "image.yaml", dataset("clicks.csv", "image.csv")
    yield "tab.yaml", dataset("  - type: numeric", "\t- type: numeric")
    yield "latin.yaml", dataset("description: ", "description: caf~ ").replace(b"~", b"\xe9")
    yield "twice.yaml", described.encode() + b"label: clicked\n"
    yield "open.yaml", b"data: [1\n"
    yield "nothing.yaml", b""
    yield "list.yaml", b"- data\n"
    yield "edited.yaml", dataset("# ", "#  ", "clicks").replace(b"ratio: {train: 8", b"ratio: {train: 6")
    model = MODEL.encode()
    yield "key.yaml", model.replace(b"batch_size", b"batchsize")
    yield "model.yaml", model.replace(b"name: mlp", b"name: wukon")
    yield "zero.yaml", model.replace(b"epochs: 1", b"epochs: 0")
    yield "data.yaml", model.replace(b"data: clicks", b"data: click")
    yield "sizes.yaml", b"name: sizes\nladders: [{recipe: mlp.yaml, sizes: [{model.widht: 8}]}]\n"
    yield "no-ladders.yaml", b"name: none\nladders: []\n"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, its recipe, prepared data and a run, and files with mistakes."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "clicks.csv").write_text(TABLE)
    described = typed(folder, "datasets", "init", "clicks.csv")
    (folder / "clicks.yaml").write_text(described)
    (folder / "mlp.yaml").write_text(MODEL)
    typed(folder, "prepare", "./clicks.yaml")
    typed(folder, "train", "mlp.yaml")
    (run,) = (folder / "runs").iterdir()
    run.rename(folder / "runs" / "mlp-run")
    (folder / "empty").mkdir()
    for name, content in (*tables(), *recipes(described)):
        (folder / name).write_bytes(content)
    return folder


RUN = "runs/mlp-run"
MISTAKES = [
    # command, exit code, pieces of the message and the hint
    ("datasets init click.csv", 2, "there is no file `click.csv`", "did you mean `clicks.csv`?"),
    ("datasets init nowhere/clicks.csv", 2, "there is no file", "there is no folder `nowhere`"),
    ("datasets init empty", 2, "`empty` is a folder without tables", "give its files"),
    ("datasets init image.csv", 2, "`image.csv` is a PNG image, not a table", "save the data as CSV"),
    ("datasets init random.csv", 2, "not a table: it contains binary data", "save the data as CSV"),
    ("datasets init empty.csv", 2, "`empty.csv` is empty", "give a file with a header and rows"),
    ("datasets init header.csv", 2, "has a header but no rows", "give a file with rows"),
    ("datasets init short.csv", 1,
     "`short.csv:101`: expected 6 columns, found 3", "`sed 101d short.csv > fixed.csv`"),
    ("datasets init quote.csv", 1,
     "`quote.csv:101`: unterminated quoted value", "`sed 101d quote.csv > fixed.csv`"),
    ("datasets init ends.csv", 1,
     r"`ends.csv:1`: the line ends in `\r\r\n`", r"`tr -d '\r' < ends.csv > fixed.csv`"),
    ("datasets init mixed.csv", 1, "its line ending differs", r"`tr -d '\r' < mixed.csv > fixed.csv`"),
    ("datasets init cut.csv.gz", 1,
     "`cut.csv.gz` is truncated or damaged", "download or copy the file again"),
    ("datasets init damaged.csv.gz", 1, "`damaged.csv.gz`", "download or copy the file again"),
    ("datasets init unlabelled.csv", 2, "no column of `unlabelled.csv` looks like a label", "--label"),
    ("datasets init few.csv", 2, "has 3 rows, a dataset needs at least 10", "give a larger file"),
    ("datasets init broken.json", 1, "`broken.json:3`: malformed JSON", "one object per line"),
    ("datasets init clicks.csv --label click", 2, "has no column `click`", "did you mean `clicked`?"),
    ("datasets init clicks.csv --name 'My Clicks'", 2,
     "`--name My Clicks` is not a name", "write `--name My-Clicks`"),
    ("datasets init clicks.csv --join click.csv:user", 2,
     "no file `click.csv`", "did you mean `clicks.csv`?"),
    ("datasets init clicks.csv --join clicks.csv", 2, "is not FILE:KEY", "for example"),
    ("datasets init clicks.yaml", 2, "is a recipe, not a table", "train --data clicks"),
    ("datasets init", 2, "missing argument 'FILE'", "run `wukongctl datasets init --help`"),
    ("prepare click", 2, "there is no dataset `click`", "did you mean `clicks.yaml`?"),
    ("prepare frape", 2, "there is no dataset `frape`", "did you mean `frappe`?"),
    ("prepare clicks.csv", 2,
     "is a table, not a recipe", "run `wukongctl train --data clicks --model wukong`"),
    ("prepare mlp.yaml", 2, "this is a training recipe", "run `wukongctl train mlp.yaml`"),
    ("prepare empty", 2, "`empty` is a folder, not a recipe", "wukongctl datasets ls"),
    ("prepare lable.yaml", 2, "unknown key `lable`", "did you mean `label`?"),
    ("prepare column.yaml", 2, "no column `sites`", "similar columns: `site`"),
    ("prepare kind.yaml", 2, "is `number`, expected `categorical`", "did you mean `numeric`?"),
    ("prepare texts.yaml", 1, "which is not a number", "make the feature `categorical`"),
    ("prepare gone.yaml", 2, "`gone.csv` not found in", "--source"),
    ("prepare semicolons.yaml", 1, "`semicolons.csv:2`", "write `delim=';'` in `read_csv`"),
    ("prepare grades.yaml", 1, "the label must be 0 or 1, found", "make `label` SQL that is 0 or 1"),
    ("prepare image.yaml", 2, "`image.csv` is a PNG image", "save the data as CSV"),
    ("prepare tab.yaml", 2, "not valid YAML: a tab", "indent with spaces"),
    ("prepare latin.yaml", 2, "latin.yaml:4:", "iconv -f LATIN1"),
    ("prepare twice.yaml", 2, "duplicate key `label`", "first on line"),
    ("prepare open.yaml", 2, "open.yaml:2:1: not valid YAML", ""),
    ("prepare nothing.yaml", 2, "nothing.yaml:1:1: the file is empty", ""),
    ("prepare list.yaml", 2, "not a recipe: expected lines of the form `key: value`", ""),
    ("prepare edited.yaml", 2, "was prepared from another recipe", "--force"),
    ("prepare clicks.yaml --threads 100000", 2, "is too many for this machine", "give at most"),
    ("prepare clicks.yaml --memory-limit 4", 2, "expected a size", "for example `4GB`"),
    ("prepare clicks.yaml --limit-rows 1k", 2, "'1k' is not an integer", "run `wukongctl prepare --help`"),
    ("prepare clicks.yaml --treads 2", 2, "no such option '--treads'", "Did you mean '--threads'?"),
    ("prepare clicks.yaml --out clicks.csv", 2, "cannot write", "`clicks.csv` is a file"),
    ("train mpl.yaml", 2, "there is no recipe `mpl.yaml`", "did you mean `mlp.yaml`?"),
    ("train frappe/wukon", 2, "there is no recipe `frappe/wukon`", "did you mean `frappe/wukong`?"),
    ("train frappe/wukong", 2,
     "dataset `frappe` is not prepared in `data`", "run `wukongctl prepare frappe`"),
    ("train", 2, "give a recipe, or a prepared dataset and a model", "wukongctl recipes ls"),
    ("train --data clicks --model wukon", 2, "is `wukon`, expected `wukong`", "did you mean `wukong`?"),
    ("train data.yaml", 2, "dataset `click` is not prepared in `data`", "did you mean `clicks`?"),
    (f"train {RUN}", 2, "is a run folder, not a recipe", f"run `wukongctl train {RUN}/recipe.yaml"),
    ("train key.yaml", 2, "key.yaml:4:1: unknown key `batchsize`", "did you mean `batch_size`?"),
    ("train model.yaml", 2, "is `wukon`, expected", "did you mean `wukong`?"),
    ("train zero.yaml", 2, "zero.yaml:5:9: `epochs` is `0`, expected more than 0", ""),
    ("train mlp.yaml --set epoch=3", 2, "unknown key `epoch`", "did you mean `epochs`?"),
    ("train mlp.yaml --set epochs", 2, "`--set epochs` has no value", "write `--set epochs=VALUE`"),
    ("train mlp.yaml --set", 2, "option '--set' requires an argument", "run `wukongctl train --help`"),
    ("train mlp.yaml --set optimizer.dense.rl=3", 2, "unknown key `rl`", "did you mean `lr`?"),
    ("train mlp.yaml --set batch_size=4k", 2, "is `4k`, expected an integer", "write `4000`"),
    ("train mlp.yaml --set 'batch_size=\"12\"'", 2, 'is `"12"`, expected an integer', "write `12`"),
    ("train mlp.yaml --set model.hidden=[64", 2, "expected a list", "write `[64]`"),
    ("train mlp.yaml --set device=gpu", 2,
     "is `gpu`, expected `auto`, `cpu` or `cuda`", "did you mean `cuda`?"),
    ("train mlp.yaml --set accumulate=64000", 2,
     "`accumulate` splits a batch of 64 into 64,000 pieces", "write at most `64`"),
    ("train mlp.yaml --set compile=yes", 2, "expected `true` or `false`", "write `true`"),
    ("train mlp.yaml --set seed=-1", 2, "`seed` is `-1`, expected at least 0", ""),
    ("train mlp.yaml --set model.width=1000000 --set model.hidden=[1000000]", 2,
     "GB of memory are free", "reduce the widths"),
    ("train mlp.yaml --seeds 100000", 2, "100000 is not in the range", "run `wukongctl train --help`"),
    ("train mlp.yaml --seed 5 --resume", 2, "there is no run to resume", "leave out `--resume`"),
    ("train mlp.yaml --resume --force", 2, "`--resume` cannot be used with `--force`", "leave one out"),
    ("train mlp.yaml --out clicks.csv", 2, "cannot write", "`clicks.csv` is a file"),
    ("sweep sizes.yaml", 2, "unknown key `widht`", "did you mean `width`?"),
    ("sweep no-ladders.yaml", 2, "expected a list of at least one entry", ""),
    ("sweep mlp.yaml", 2, "this is a training recipe, not a sweep file", "run `wukongctl train mlp.yaml`"),
    ("tune clicks", 2, "`clicks` is a dataset, not a training recipe", "wukongctl recipes init clicks"),
    ("recipes init clicks/mlp", 2,
     "`clicks/mlp` is not a prepared dataset", "run `wukongctl recipes init clicks --model mlp`"),
    ("recipes init clicks.csv", 2, "is a table, not a prepared dataset", "wukongctl recipes init clicks >"),
    ("recipes cp frappe/fm no/where.yaml", 2, "cannot write `no/where.yaml`", "`mkdir -p no`"),
    ("recipes check clicks.csv", 2, "`clicks.csv` is a table, not a recipe", "wukongctl train --data clicks"),
    ("recipes show latin.yaml", 2, "latin.yaml:4:", "iconv -f LATIN1"),
    ("evaluate mlp.yaml", 2, "`mlp.yaml` is a recipe, not a run folder", "run `wukongctl train mlp.yaml`"),
    ("evaluate runs/mlp-ran", 2, "there is no `runs/mlp-ran`", f"did you mean `{RUN}`?"),
    ("evaluate mlp-run", 2, "there is no `mlp-run`", f"did you mean `{RUN}`?"),
    ("evaluate runs", 2, "`runs` is a folder of run folders", f"name one, such as `{RUN}`"),
    (f"evaluate {RUN} --group users", 2, "no categorical column `users`", "did you mean `user`?"),
    (f"evaluate {RUN} --predictions clicks.csv", 2, "is not a file of predictions", "add `--force`"),
    ("compare empty", 2, "no run in `empty`", "pass a run folder"),
    ("compare runs --by f1", 2, "'f1' is not one of 'auc'", "run `wukongctl compare --help`"),
    (f"predict {RUN} click.csv", 2, "there is no file `click.csv`", "did you mean `clicks.csv`?"),
    (f"predict {RUN} empty", 2, "`empty` is a folder, not a file", "has no files"),
    (f"predict {RUN} image.csv", 2, "`image.csv` is a PNG image, not a table", "save the data as CSV"),
    (f"predict {RUN} empty.csv", 2, "`empty.csv` is empty", "give a file with a header and rows"),
    (f"predict {RUN} points.csv", 2, "`points.csv` lacks the raw columns", "it has `size`, `loss`"),
    (f"predict clicks.csv {RUN}", 2, "`clicks.csv` is not a run folder", "run `wukongctl runs ls`"),
    (f"predict {RUN} clicks.csv --out clicks.yaml", 2, "unknown file type", "name it `.parquet` or `.csv`"),
    ("dashboard runs --out clicks.yaml", 2, "exists and is not a dashboard", "change `--out`"),
    ("scale-report", 2, "give either run folders or `--points TABLE`", "run `wukongctl scale-report --help`"),
    ("scale-report --points point.csv", 2, "there is no file `point.csv`", "did you mean `points.csv`?"),
    ("scale-report --points points.csv", 2,
     "no column of `points.csv` is known", "name it with `--x COLUMN`"),
    ("scale-report --points words.csv", 2, "words.csv:2:5: `two` is not a number", "fix the file"),
    ("flops clicks.yaml", 2, "this is a dataset recipe", "wukongctl train --data clicks"),
    ("runs ls nowhere", 2, "there is no folder `nowhere`", "`wukongctl train` creates it"),
    ("trian mlp.yaml", 2, "no such command `trian`; did you mean `train`?", "run `wukongctl --help`"),
    ("--json train mlp.yaml", 2, "no such option '--json'", "write `wukongctl train mlp.yaml --json`"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "code", "message", "hint"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_answered(
    command: str,
    code: int,
    message: str,
    hint: str,
    wukong: Wukong,
    desk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(desk)
    before = listing(desk)
    result = wukong(*shlex.split(command))
    said = result.err
    if "--json" in command:
        said = f"error: {result.error['message']}\nhint: {result.error['hint']}"
    assert (result.code, result.out) == (code, ""), said
    assert len(re.findall(r"^error: ", said, re.MULTILINE)) == 1
    assert message in said
    assert hint in said
    assert re.search(r"^hint: .|\(.+\)$|^\S+:\d+:\d+: |^--set ", said, re.MULTILINE), (
        "neither a hint nor a place"
    )
    assert listing(desk) == before, "nothing is written, and nothing is lost"
    for named in re.findall(r"`(wukongctl [^`]+)`", said):
        require_command(named)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of each file but locks; zeros of a folder."""
    found = {str(path): path.stat() for path in folder.rglob("*") if path.suffix != ".lock"}
    return {name: (0, 0) if S_ISDIR(s.st_mode) else (s.st_size, s.st_mtime_ns) for name, s in found.items()}


def require_command(text: str) -> None:
    """Fail unless the command line takes a command with these options."""
    words = shlex.split(text.partition(" > ")[0])[1:]
    command: click.Command = cli
    context = click.Context(cli, info_name="wukongctl")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, found, words = command.resolve_command(context, words)
        assert found is not None, text
        command, context = found, click.Context(found, parent=context, info_name=name)
    if "--help" not in words:
        with suppress(click.MissingParameter):  # as in `wukongctl datasets init` on the table
            command.parse_args(click.Context(command, parent=context.parent, info_name=command.name), words)
