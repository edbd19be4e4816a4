import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from wukongctl.runs.learning_curves import MOST_SPEEDS, read_curves, thinned
from wukongctl.training.run_folder import RunFolder

LINES = """\
{"step": 4, "split": "train", "examples": 400, "loss": 0.7}
{"step": 6, "split": "valid", "rows": 50, "auc": 0.6, "logloss": 0.69}
{"step": 8, "split": "train", "examples": 800, "loss": NaN}
{"step": 10, "split": "train", "examples": 950, "loss": 0.6123456789}
{"step": 10, "split": "valid", "rows": 50, "auc": 0.61}
{"step": 12, "split": "valid", "rows": 50, "auc": 0.62}
{"step": 14, "split": "tra"""


def folder(path: Path, metrics: str = "", speed: str = "") -> RunFolder:
    run = RunFolder(path)
    run.metrics.write_text(metrics)
    run.speed.write_text(speed)
    return run


def test_curves_of_a_run_that_is_still_writing(tmp_path: Path) -> None:
    assert read_curves(folder(tmp_path, LINES)) == {
        "train": {
            "step": [4, 8, 10],
            "examples": [400, 800, 950],
            "values": {"loss": [0.7, None, 0.612346]},
        },
        # Step 6 is half-way from 400 to 800 examples; how many step 12 has seen is not known yet.
        "valid": {
            "step": [6, 10, 12],
            "examples": [600, 950, None],
            "values": {"auc": [0.6, 0.61, 0.62], "logloss": [0.69, None, None]},
        },
    }


def test_without_logs_there_are_no_curves(tmp_path: Path) -> None:
    assert read_curves(RunFolder(tmp_path)) == {}
    assert read_curves(folder(tmp_path, '[]\n{"step": "x"}\n\x00\n')) == {}


def test_lines_of_a_resumed_run_replace_those_from_before(tmp_path: Path) -> None:
    logged = [(4, 400, 1.0), (8, 800, 3.0), (12, 1200, 9.0), (8, 800, 2.0), (12, 1200, 2.5)]
    speed = "".join(json.dumps({"step": s, "examples": n, "train_seconds": t}) + "\n" for s, n, t in logged)
    found = read_curves(folder(tmp_path, LINES, speed))["speed"]
    assert (found["step"], found["examples"]) == ([4, 8, 12], [400, 800, 1200])
    assert found["values"] == {"rows_per_second": [400.0, 400.0, 800.0]}


def test_speeds_are_means_over_several_lines(tmp_path: Path) -> None:
    speed = "".join(
        json.dumps({"step": n, "examples": 10 * n, "train_seconds": n + (n % 2) / 2}) + "\n"
        for n in range(1, 201)
    )
    found = read_curves(folder(tmp_path, "", speed))["speed"]
    assert found["step"] == list(range(4, 201, 4))
    assert found["values"]["rows_per_second"] == [10.0] * MOST_SPEEDS


def test_trees_have_no_curve_by_examples(tmp_path: Path) -> None:
    lines = [{"step": n, "split": "train", "examples": 900, "loss": 0.5} for n in (1, 2, 3)]
    found = read_curves(folder(tmp_path, "\n".join(map(json.dumps, lines))))
    assert found["train"]["examples"] == [None, None, None]


@given(
    st.lists(
        st.tuples(*[st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))] * 2),
        min_size=1,
        max_size=120,
    ),
    st.integers(6, 40),
)
def test_thinning_keeps_ends_and_extremes(rows: list[tuple[float | None, float | None]], most: int) -> None:
    columns = {"a": [a for a, _ in rows], "b": [b for _, b in rows]}
    kept = thinned(len(rows), columns, most)
    assert len(kept) <= most
    assert kept == sorted(set(kept))
    assert {kept[0], kept[-1]} == {0, len(rows) - 1}
    for column in columns.values():
        known = [value for value in column if value is not None]
        shown = [value for index in kept if (value := column[index]) is not None]
        if known:
            assert (min(shown), max(shown)) == (min(known), max(known))
