"""The guides to your own table: every block works in order and prints what the page says, numbers aside."""

import random
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from tests.cli.conftest import Wukong

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
BANK_ROWS = 1200
BANK_HEADER = (
    '"age";"job";"marital";"education";"default";"housing";"loan";"contact";"month";"day_of_week";"duration";'
    '"campaign";"pdays";"previous";"poutcome";"emp.var.rate";"cons.price.idx";"cons.conf.idx";"euribor3m";'
    '"nr.employed";"y"'
)
LEAST_COMMANDS = 22

OTHER_TABLES = """
CREATE MACRO draw(name, n, below) AS (md5_number(name || n) % below)::INT;
CREATE TABLE visits AS
    SELECT n, TIMESTAMP '2026-11-01' + to_minutes(n) AS shown_at, 'u' || draw('u', n, 60) AS user_id,
        'p' || draw('p', n, 40) AS page_id, ['AT', 'DE', 'FR'][1 + draw('country', n, 3)] AS country,
        round(5 + draw('price', n, 9000) / 100, 2) AS price, (draw('y', n, 10) < 3)::INT AS clicked,
        array_to_string(['red', 'blue', 'green'][: 1 + draw('tags', n, 3)], '|') AS tags
    FROM range(4000) AS t(n);
CREATE MACRO shown() AS TABLE SELECT user_id, page_id, price, clicked FROM visits ORDER BY n;
CREATE MACRO bought() AS TABLE SELECT shown_at, user_id, price, clicked AS purchased FROM visits ORDER BY n;
COPY (FROM bought() LIMIT 2000) TO 'logs/part-0.parquet';
COPY (FROM bought() OFFSET 2000) TO 'logs/part-1.parquet';
COPY (FROM shown() LIMIT 3000) TO 'train.csv';
COPY (FROM shown() OFFSET 3000) TO 'test.csv';
COPY (FROM shown() LIMIT 150) TO 'sample.csv';
COPY (SELECT user_id, page_id AS movie_id, 1 + draw('r', n, 5) AS rating FROM visits) TO 'ratings.csv';
COPY (
    SELECT user_id AS patient_nbr, country, price, ['NO', '<30', '>30'][1 + draw('stay', n, 3)] AS readmitted
    FROM visits
) TO 'stays.csv';
COPY (SELECT shown_at, user_id, page_id AS item_id, country, price, tags, clicked FROM visits ORDER BY n)
TO 'clicks.csv';
"""


def bank(draw: random.Random) -> str:
    """A table of the header, quotes and kinds of values of bank-additional-full.csv."""
    lines = [BANK_HEADER]
    for _ in range(BANK_ROWS):
        says_yes = draw.random() < 0.2
        contacted = draw.random() < 0.08
        duration = int(draw.lognormvariate(6.2 if says_yes else 5.2, 0.7))
        texts = [draw.choice(words) for words in (("admin.", "services", "retired"), ("married", "single"))]
        more = ["basic.4y", *(draw.choice(["yes", "no", "unknown"]) for _ in range(3))]
        more[0] = draw.choice(["basic.4y", "high.school", "university.degree"])
        when = [
            draw.choice(["cellular", "telephone"]),
            draw.choice(["may", "jun", "nov"]),
            draw.choice(["mon", "fri"]),
        ]
        numbers = [duration, draw.randint(1, 30), draw.randint(0, 27) if contacted else 999, int(contacted)]
        outcome = draw.choice(["failure", "success"]) if contacted else "nonexistent"
        rates = [
            draw.choice([-1.8, 1.1, 1.4]),
            *draw.choice([(92.893, -46.2), (93.444, -36.1), (93.994, -36.4)]),
        ]
        rates += [round(draw.uniform(0.6, 5), 3), draw.choice([5099.1, 5191, 5228.1])]
        quoted = [f'"{word}"' for word in (*texts, *more, *when)]
        cells = [
            draw.randint(17, 98),
            *quoted,
            *numbers,
            f'"{outcome}"',
            *rates,
            f'"{"yes" if says_yes else "no"}"',
        ]
        lines.append(";".join(map(str, cells)))
    return "\n".join(lines) + "\n"


class Block(NamedTuple):
    """A fenced block of the page."""

    kind: str
    text: str
    section: int
    """How many headings of the second level stand above it."""


def blocks(name: str) -> Iterator[Block]:
    page = (GUIDES / name).read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w+)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        above = re.findall(r"^## ", page[: found.start()], re.MULTILINE)
        yield Block(found[1], found[2], len(above))


def skeleton(line: str) -> str:
    """A line of output without its numbers, hashes, verdicts and widths."""
    line = re.sub(r"-[0-9a-f]{8}\b|\b[0-9a-f]{12}\b", "#", line)
    line = re.sub(r"[+-]?\d[\d,.]*|\binf\b", "#", line)
    line = " ".join(re.sub(r"─+", "─", line).split())
    return re.sub(r"( [!=+-])+(?= |$)", "", line)


class Reader:
    """Somebody who types what the page says, in the current folder."""

    def __init__(self, wukong: Wukong) -> None:
        self.wukong = wukong
        self.seen: set[str] = set()
        self.typed: list[str] = []

    def do(self, block: Block, *, fails: bool) -> None:
        getattr(self, block.kind)(block.text, fails)

    def python(self, text: str, fails: bool) -> None:
        subprocess.run([sys.executable, "-c", text], check=not fails)

    def sh(self, text: str, fails: bool) -> None:
        *first, last = text.splitlines()
        codes = [self._type(line) for line in first] + [0]
        assert not any(codes), first
        assert bool(self._type(last)) == fails, last

    def yaml(self, text: str, fails: bool) -> None:
        name = text.splitlines()[0].removeprefix("# ")
        Path(name).write_text(text)

    def diff(self, text: str, fails: bool) -> None:
        """Apply it; what follows `#` in a recipe's line are facts about the data."""
        head, *changes = text.splitlines()
        path = Path(head.removeprefix("--- "))
        lines = [line.partition(" # ")[0] for line in path.read_text().splitlines()]
        removed = [line[1:].partition(" # ")[0] for line in changes if line.startswith("-")]
        (place,) = [at for at, line in enumerate(lines) if line == removed[0]]
        lines[place:place] = [line[1:] for line in changes if line.startswith("+")]
        for line in removed:
            lines.remove(line)
        path.write_text("\n".join(lines) + "\n")

    def text(self, text: str, fails: bool) -> None:
        shown = {skeleton(line) for line in text.splitlines()} - {"", "…"}
        assert shown <= self.seen, sorted(shown - self.seen)

    def _type(self, line: str) -> int:
        self.typed.append(line)
        words = shlex.split(line)
        if words[0] != "wukongctl":
            return subprocess.run(line, check=False, shell=True).returncode
        target = words[-1] if words[-2] == ">" else ""
        words = words[1:-2] if target else words[1:]
        words = [found for word in words for found in self._files(word)]
        if words[0] == "train" and words[-1] != "lightgbm":
            words += ["--set", "epochs=1"]
        result = self.wukong(*words)
        if target:
            Path(target).write_text(result.out)
        self.seen |= {skeleton(each) for each in (result.out + result.err).splitlines()}
        return result.code

    def _files(self, word: str) -> list[str]:
        """What the shell makes of a pattern of runs; the hash of a run depends on its data."""
        if not word.startswith("runs/"):
            return [word]
        found = sorted(map(str, Path().glob(re.sub(r"-[0-9a-f]{8}$", "-*", word))))
        assert found, word
        return found


@pytest.fixture
def tables(wukong: Wukong, tmp_path: Path) -> Path:
    """The folder of the reader, with stand-ins of all tables that the page does not make itself."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "bank-additional-full.csv").write_text(bank(random.Random(0)))
    duckdb.connect().execute(OTHER_TABLES)
    return tmp_path


def follow(name: str, wukong: Wukong) -> Reader:
    """Do every block of a page in order."""
    reader = Reader(wukong)
    page = list(blocks(name))
    section = 0
    for block, after in zip(page, [*page[1:], Block("", "", 0)], strict=True):
        if block.section != section:
            reader.seen, section = set(), block.section
        reader.do(block, fails=after.kind == "text" and after.text.startswith("error: "))
    return reader


def test_every_block_of_the_guide_to_your_own_table_works_in_order(wukong: Wukong, tables: Path) -> None:
    reader = follow("own-data.md", wukong)
    assert len(reader.typed) >= LEAST_COMMANDS
    commands = {line.split()[1] for line in reader.typed if line.startswith("wukongctl ")}
    assert commands >= {"datasets", "recipes", "prepare", "train", "compare", "predict", "tune"}
    assert (tables / "scores.csv").read_text().count("\n") == 6
    assert duckdb.connect().execute("SELECT count(*) FROM 'tonight.parquet'").fetchall() == [(10,)]


def test_every_block_of_the_guide_to_dataset_recipes_works_in_order(wukong: Wukong, tables: Path) -> None:
    assert len(follow("dataset-recipes.md", wukong).typed) >= 5
    assert (tables / "data" / "clicks" / "rejected.csv").is_file()
