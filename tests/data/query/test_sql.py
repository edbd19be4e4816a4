"""Quoting: names of a recipe and paths cannot become SQL."""

from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.test_prepare import columns, own, run
from wukongctl.data.query import sql

CONNECTION = duckdb.connect()
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(text=TEXT)
def test_literal_round_trip(text: str) -> None:
    assert CONNECTION.sql(f"SELECT {sql.literal(text)}").fetchall() == [(text,)]


@given(name=TEXT.filter(bool))
def test_identifier_round_trip(name: str) -> None:
    assert CONNECTION.sql(f"SELECT 1 AS {sql.identifier(name)}").columns == [name]


def test_fill_quotes_paths() -> None:
    assert (
        sql.fill("read('{a.csv}', '{b}')", {"a.csv": Path("/it's"), "b": Path("x")}) == "read('/it''s', 'x')"
    )


@pytest.mark.parametrize("query", ["SELECT 1 AS x;", "SELECT 1 AS x -- note", "  SELECT 1 AS x ;\n"])
def test_source_nests_any_ending(query: str) -> None:
    assert CONNECTION.sql(sql.source(query, 5)).fetchall() == [(1,)]


def test_strange_column_names_and_paths(tmp_path: Path) -> None:
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    names = ["a b", 'quo"te', "semi;colon--", "f0", "label_", "sla/sh"]
    header = ",".join('"' + name.replace('"', '""') + '"' for name in ["label", *names])
    (folder / "clicks.csv").write_text(f"{header}\n" + "1,q,r,s,t,u,v\n0,q,r,s,t,u,v\n1,q,r,s,t,u,v\n")
    spec = own(features=[{"type": "categorical", "columns": names}])
    prepared = run(spec, folder, tmp_path / "out")
    assert list(columns(tmp_path / "out", prepared)["train"]) == ["label", *names]
    assert len(list((tmp_path / "out/own/vocab").iterdir())) == len(names)


def test_many_features(tmp_path: Path) -> None:
    names = [f"x{i}" for i in range(130)]
    rows = [",".join(["1", *(str(i * j % 7) for j in range(130))]) for i in range(9)]
    (tmp_path / "clicks.csv").write_text("\n".join([",".join(["label", *names]), *rows]) + "\n")
    spec = own(features=[{"type": "categorical", "columns": names}])
    prepared = run(spec, tmp_path, tmp_path / "out")
    wanted = [2 + len({i * j % 7 for i in range(6)}) for j in range(130)]
    assert [feature.rows for feature in prepared.features] == wanted
