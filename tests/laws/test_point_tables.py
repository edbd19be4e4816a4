import contextlib
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wukongctl.config.report import ColumnsSpec
from wukongctl.errors import RecipeError, UsageError
from wukongctl.laws.axis import COMPUTE, PARAMETERS
from wukongctl.laws.point_tables import read_table
from wukongctl.laws.points import Point


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "points.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_columns_may_come_in_any_order(tmp_path: Path) -> None:
    text = (
        "logloss,model,gflop_per_example,seed,examples,dense_params\n.5,b,2,1,10,7\n.6,a,3,,,\n.7,a,1,0,,\n"
    )
    points = read_table(csv_file(tmp_path, text))
    assert points.metric == "logloss"
    assert points.points == (
        Point("a", 1.0, 0.7, seed=0),
        Point("a", 3.0, 0.6),
        Point("b", 2.0, 0.5, seed=1, examples=10, dense_params=7),
    )
    assert points.floor is None
    assert points.zero_loss == 0


def test_relative_loss_is_zero_at_minus_a_hundred_percent(tmp_path: Path) -> None:
    points = read_table(csv_file(tmp_path, "model,gflop_per_example,relative_logloss\nWukong,0.53,-0.35\n"))
    assert (points.metric, points.zero_loss) == ("relative_logloss", -100)


@pytest.mark.parametrize("cell", ["diverged", "NaN", "inf"])
def test_a_diverged_row_is_listed_not_fitted(tmp_path: Path, cell: str) -> None:
    points = read_table(csv_file(tmp_path, f"model,gflop_per_example,logloss\na,1,.5\na,2,{cell}\n"))
    assert [(run.curve, run.x, run.reason) for run in points.excluded] == [("a", 2, "diverged")]
    assert len(points.points) == 1


def test_every_bad_cell_is_reported_with_its_position(tmp_path: Path) -> None:
    text = "model,gflop_per_example,logloss,seed\n,1,.5,0\na,-2,.5,1.5\na,3,,\na,x,-0.3,\n"
    with pytest.raises(RecipeError) as caught:
        read_table(csv_file(tmp_path, text))
    found = {(problem.line, problem.column) for problem in caught.value.problems}
    assert found == {(2, 1), (3, 3), (3, 9), (4, 5), (5, 3), (5, 5)}
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [("a,1,0.5,0", "`0` is not positive"), ("b,1,0,5,100", "5 fields, but the header has 4")],
)
def test_zero_examples_and_extra_fields_are_rejected(tmp_path: Path, row: str, message: str) -> None:
    path = csv_file(tmp_path, f"model,gflop_per_example,logloss,examples\n{row}\n")
    with pytest.raises(RecipeError) as caught:
        read_table(path)
    assert [(one.line, one.column, one.message) for one in caught.value.problems] == [(2, 9, message)]


def test_duplicates_are_rejected_unless_their_losses_differ_without_a_seed(tmp_path: Path) -> None:
    header = "model,gflop_per_example,logloss,seed\n"
    assert len(read_table(csv_file(tmp_path, header + "a,1,.5,\na,1,.6,\n")).points) == 2
    for twice in ("a,1,.5,3\na,1,.6,3\n", "a,1,.5,\na,1,.5,\n"):
        with pytest.raises(RecipeError) as caught:
            read_table(csv_file(tmp_path, header + twice))
        assert "the same run as line 2" in str(caught.value.problems[0])


def test_a_table_without_finished_runs_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no finished run"):
        read_table(csv_file(tmp_path, "model,gflop_per_example,logloss\na,1,diverged\n"))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("1e300,0.5", "`1e+300` GFLOP is out of range"),
        ("1e-300,0.5", "`1e-300` GFLOP is out of range"),
        ("1,1e308", "`1e+308` is out of range"),
    ],
)
def test_numbers_out_of_range_are_rejected(tmp_path: Path, cells: str, message: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(f"model,gflop_per_example,logloss\nwukong,{cells}\n")
    with pytest.raises(RecipeError) as caught:
        read_table(path)
    assert message in str(caught.value.problems)


@pytest.mark.parametrize(
    ("cell", "hint"),
    [
        ('"1,930,698"', "write it without thousands separators"),
        ("47%", "write the number without `%`"),
        ("", "fill it in, or delete the row"),
        ("many", None),
    ],
)
def test_a_cell_that_is_not_a_number_has_a_hint(tmp_path: Path, cell: str, hint: str | None) -> None:
    with pytest.raises(RecipeError) as caught:
        read_table(csv_file(tmp_path, f"model,params,loss\na,1,0.5\na,{cell},0.5\n"))
    assert [one.hint for one in caught.value.problems] == [hint]


def test_counts_may_have_a_fraction_but_not_vanish(tmp_path: Path) -> None:
    """As digitized or interpolated counts have."""
    (point,) = read_table(csv_file(tmp_path, "model,params,loss,tokens\na,1e6,0.5,398107170.55\n")).points
    assert point.examples == 398_107_171
    with pytest.raises(RecipeError, match=r"1 problem") as caught:
        read_table(csv_file(tmp_path, "model,params,loss,tokens\na,1e6,0.5,0.3\n"))
    assert caught.value.problems[0].message == "`0.3` is not positive"


def test_white_space_in_names_is_one_space(tmp_path: Path) -> None:
    path = csv_file(tmp_path, 'model,params,loss\n"a\nb\t c",1,0.5\n')
    assert read_table(path).points[0].curve == "a b c"


def test_one_column_cannot_be_x_and_the_loss(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`params` is both x and the loss"):
        read_table(csv_file(tmp_path, "model,params,loss\na,1,0.5\n"), ColumnsSpec(y="params"))


def test_json_by_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"params": {"0": 1}, "loss": {"0": 0.5}}')
    with pytest.raises(UsageError, match="more than one value in `params`") as caught:
        read_table(tmp_path / "t.json")
    assert "one object per run" in str(caught.value.hint)


# --- other fields' columns ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "axis", "x", "metric"),
    [
        ("model,gflops_per_example,log_loss", "gflop_per_example", 2.0, "logloss"),
        ("model,mflop_per_sample,bce", "gflop_per_example", 0.002, "bce"),
        ("Model,params,loss", "params", 2.0, "loss"),
        ("N,test loss", "params", 2.0, "test loss"),
        ("params_millions,cross-entropy", "params", 2e6, "cross-entropy"),
        ("arch,FLOPs,error_rate", "training_flop", 2.0, "error_rate"),
        ("pf_days,L", "training_flop", 2 * 8.64e19, "L"),
        ("tokens_b,val_loss", "tokens", 2e9, "val_loss"),
        ("n_samples,nll", "training_examples", 2.0, "nll"),
        ("model,flops,params,loss", "training_flop", 2.0, "loss"),
        ("seed,epochs,model,width,params,1 - auc", "params", 2.0, "1 - auc"),
    ],
)
def test_columns_of_other_fields_are_recognized(
    header: str, axis: str, x: float, metric: str, tmp_path: Path
) -> None:
    columns = header.split(",")
    text = "\n".join([header, *(",".join([str(i)] * len(columns)) for i in (2, 3))])
    found = read_table(csv_file(tmp_path, text))
    assert (found.axis.key, found.points[0].x, found.metric) == (axis, pytest.approx(x), metric)
    assert [point.loss for point in found.points] == [2, 3]
    assert found.axis is COMPUTE or metric in found.remarks[0]


def test_parameters_and_tokens_make_a_joint_set_of_one_curve(tmp_path: Path) -> None:
    text = "flops,params,tokens,loss\n1e20,4000.0,4e9,3.1\n2e20,8e6,1e9,2.9\n"
    found = read_table(csv_file(tmp_path, text))
    assert [(p.curve, p.x, p.examples) for p in found.points] == [
        ("points", 4000.0, 4_000_000_000),
        ("points", 8e6, 1_000_000_000),
    ]
    assert "x is `params` (parameters)" in found.remarks[0]


def test_columns_are_named_by_settings(tmp_path: Path) -> None:
    text = "who,width,steps,score\na,64,100,0.25\nb,128,200,0.5\n"
    path = csv_file(tmp_path, text)
    wanted = ColumnsSpec(x="width", y="score", curve="who", larger_is_better=True)
    found = read_table(path, wanted)
    assert [(p.curve, p.x, p.loss) for p in found.points] == [("a", 64, 0.75), ("b", 128, 0.5)]
    assert (found.axis.key, found.metric, found.measure.title) == ("width", "1 - score", "1 − score")
    counted = read_table(path, ColumnsSpec(x="steps", axis="training", unit=1e15, y="score"))
    assert [(p.curve, p.x) for p in counted.points] == [("points", 1e17), ("points", 2e17)]
    with pytest.raises(UsageError, match="there is no column `with` in") as caught:
        read_table(path, ColumnsSpec(x="with", y="score"))
    assert caught.value.hint == "did you mean `width`?"


def test_larger_is_better_by_name_and_percentages(tmp_path: Path) -> None:
    found = read_table(csv_file(tmp_path, "params,test_auc\n10,0.75\n20,0.875\n"))
    assert ([p.loss for p in found.points], found.metric) == ([0.25, 0.125], "1 - test_auc")
    assert "of `test_auc` itself, larger is better" in found.remarks[0]
    percent = read_table(csv_file(tmp_path, "params,top1 accuracy\n10,75\n20,80.5\n"))
    assert [p.loss for p in percent.points] == [25, 19.5]
    with pytest.raises(RecipeError) as caught:
        read_table(csv_file(tmp_path, "params,auc\n10,0.75\n20,170\n"))
    assert "`170` is better than 100" in str(caught.value.problems[0])


@pytest.mark.parametrize(
    ("header", "message", "hint"),
    [
        (
            "model,watts,loss",
            "known to be compute, parameters, examples or tokens",
            "--x",
        ),
        ("model,params,happiness", "known to be the loss; its columns are", "--y"),
    ],
)
def test_columns_that_are_not_found_are_asked_for(
    header: str, message: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read_table(csv_file(tmp_path, f"{header}\na,1,2\n"))
    assert f"`{hint} COLUMN`" in (caught.value.hint or "")


def test_header_problems_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        read_table(csv_file(tmp_path, "modle,seeds,prams,logloss,excess_logloss,logloss\n"))
    assert [problem.message for problem in caught.value.problems] == [
        "column `logloss` occurs twice",
        "`logloss` and `excess_logloss` are mutually exclusive",
        "unknown column `modle`, did you mean `model`?",
        "unknown column `seeds`, did you mean `seed`?",
        "unknown column `prams`, did you mean `params`?",
    ]
    two = csv_file(tmp_path, "model,gflop_per_example,logloss,excess_logloss\na,1,.5,.1\n")
    assert read_table(two, ColumnsSpec(y="logloss")).metric == "logloss"


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "json", "tsv"])
def test_every_format_gives_the_same_points(ending: str, tmp_path: Path) -> None:
    rows = [
        {"model": "a", "params": 1e6, "loss": 0.5, "seed": 1, "note": None},
        {"model": "a", "params": 2e6, "loss": float("nan"), "seed": None, "note": "x"},
    ]
    path = tmp_path / f"points.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ending == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif ending == "json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("model\tparams\tloss\tseed\na\t1e6\t0.5\t1\na\t2000000.0\tnan\t\n")
    found = read_table(path)
    assert found.points == (Point("a", 1e6, 0.5, seed=1),)
    assert [(run.x, run.reason) for run in found.excluded] == [(2e6, "diverged")]
    assert found.axis is PARAMETERS


def test_problems_of_files_without_lines_name_row_and_column(tmp_path: Path) -> None:
    path = tmp_path / "points.parquet"
    pq.write_table(pa.table({"params": [1.0, -2.0], "loss": ["0.5", "low"]}), path)
    with pytest.raises(RecipeError) as caught:
        read_table(path)
    assert [str(problem) for problem in caught.value.problems] == [
        f"{path}: row 2, column `params`: `-2` is not positive",
        f"{path}: row 2, column `loss`: `low` is not a number",
    ]
    lines = tmp_path / "points.jsonl"
    lines.write_text('{"params": 1, "loss": 0.5}\n\n{"params": 2, "loss": "low"}\n')
    with pytest.raises(RecipeError) as caught:
        read_table(lines)
    assert [(p.line, p.column) for p in caught.value.problems] == [(3, 15)]


@given(st.binary(max_size=200), st.sampled_from(["csv", "jsonl", "json", "parquet"]))
def test_any_bytes_are_points_or_a_usage_error(content: bytes, ending: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"points.{ending}"
        path.write_bytes(content)
        with contextlib.suppress(UsageError):
            read_table(path)


@given(st.integers(1, 10**15))
def test_whole_numbers_are_read_in_every_spelling(value: int) -> None:
    cells = (str(value), f"{value}.0", f"{value:e}" if value < 10**6 else f"{float(value)!r}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "points.csv"
        path.write_text("model,gflop_per_example,logloss,seed,examples\n")
        with path.open("a") as file:
            file.writelines(f"a,1,0.5,{seed},{cell}\n" for seed, cell in enumerate(cells))
        assert {point.examples for point in read_table(path).points} == {value}
