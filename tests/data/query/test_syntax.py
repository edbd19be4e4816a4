"""What expressions read, and the origins of columns."""

import pytest

from wukongctl.data.query import syntax
from wukongctl.data.query.syntax import ALL


@pytest.mark.parametrize(
    ("expression", "columns"),
    [
        ("clicked", {"clicked"}),
        ("\"Clicked\" = 'yes'", {"clicked"}),
        ("CASE WHEN rating >= 4 THEN 1 ELSE 0 END", {"rating"}),
        ("user, item", {"user", "item"}),
        ("concat(user_id, '-', item_id)", {"user_id", "item_id"}),
        ("context.device", {"context"}),
        ("list_transform(tags, lambda t: lower(t) || shop)", {"tags", "shop"}),
        ("list_filter(tags, lambda t, i: i < n)", {"tags", "n"}),
        ("1", set()),
        ("'clicked'", set()),
        ("md5(a) -- not b", {"a"}),
        ("not ( sql", set()),
    ],
)
def test_columns_of_an_expression(expression: str, columns: set[str]) -> None:
    assert syntax.reads(expression).columns == columns


@pytest.mark.parametrize(
    ("expression", "reads_label"),
    [
        ("CAST(row(*COLUMNS(*)) AS VARCHAR)", True),
        ("row(*COLUMNS(* EXCLUDE (label)))", False),
        ('row(*COLUMNS(* EXCLUDE ("Label", b)))', False),
        ("row(*COLUMNS(* EXCLUDE (a)))", True),
        ("concat(row(*COLUMNS(* EXCLUDE (label))), row(*COLUMNS(*)))", True),
        ("concat(row(*COLUMNS(* EXCLUDE (label))), label)", True),
        ("row(*COLUMNS('user.*'))", True),
        ("#1", True),
    ],
)
def test_stars_may_read_the_label(expression: str, *, reads_label: bool) -> None:
    assert syntax.reads(expression).reads("label") is reads_label


@pytest.mark.parametrize(
    ("query", "column", "origins"),
    [
        ("FROM read_csv('{x}')", "a", {"a"}),
        ("SELECT a, rating >= 4 AS label FROM t", "label", {"rating"}),
        ("SELECT * REPLACE (a || b AS a) FROM t", "a", {"a", "b"}),
        ("SELECT * RENAME (clicked AS label) FROM t", "label", {"clicked"}),
        ("SELECT * FROM (SELECT user, concat(user, clicked) AS k FROM t)", "k", {"user", "clicked"}),
        ("WITH u AS (SELECT x + y AS z FROM t) SELECT 2 * z AS w FROM u", "w", {"x", "y"}),
        ("WITH t AS (SELECT a AS b FROM t) SELECT b FROM t", "b", {"a"}),
        (
            "SELECT a.u AS v FROM read_csv('{a}') AS a JOIN (SELECT p AS u FROM t) AS b USING (i)",
            "v",
            {"u", "p"},
        ),
        ("SELECT a AS c FROM t UNION ALL BY NAME SELECT b AS c FROM t", "c", {"a", "b"}),
        ("SELECT hash(*COLUMNS(*)) AS k FROM t", "k", {ALL}),
        ("SELECT 1 AS one FROM t", "one", set()),
    ],
)
def test_origins_of_a_column(query: str, column: str, origins: set[str]) -> None:
    tree = syntax.parse(query)
    assert tree is not None
    assert syntax.origins(tree, column).columns == origins


def test_functions_are_found_through_the_select() -> None:
    tree = syntax.parse("SELECT *, hash(random()) AS r, row_number() OVER () AS n FROM t")
    assert tree is not None
    assert syntax.origins(tree, "r").functions == {"hash", "random"}
    assert syntax.origins(tree, "n").windows
