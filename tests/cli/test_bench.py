"""`bench` through the command line."""

from pathlib import Path

from tests.cli.conftest import Wukong


def test_bench_prints_a_table_or_one_object_and_leaves_no_run(
    wukong: Wukong, recipe: Path, tmp_path: Path
) -> None:
    result = wukong("bench", recipe, "--steps", 2, "--json", "--trace", "step.json")
    assert result.code == 0
    assert {"examples_per_cpu_second", "mfu", "phases", "loader_rows_per_cpu_second"} <= set(result.json)
    assert (tmp_path / "step.json").is_file()
    assert not (tmp_path / "runs").exists()
    shown = wukong("bench", recipe, "--steps", 2)
    assert all(phase["phase"] in shown.out for phase in result.json["phases"])
    assert "MFU" in shown.out


def test_bench_of_unprepared_data_names_the_next_command(wukong: Wukong, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("data: absent\nmodel: {name: mlp}\n")
    result = wukong("bench", "other.yaml")
    assert result.code == 2
    assert "is not prepared" in result.err
