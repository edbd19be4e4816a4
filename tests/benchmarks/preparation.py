"""Preparation against its floor and its peers, on a file of tests/benchmarks/criteo_like.py, interleaved.

    python tests/benchmarks/criteo_like.py 2000000 criteo_like.tsv
    python tests/benchmarks/preparation.py criteo_like.tsv --rounds 3 --peers-python venv/bin/python

The peers' interpreter needs pandas, `polars<2`, pyarrow and, for `fuxictr`, fuxictr with ray and packaging.
Each contender is a process of its own on two threads; CPU and peak memory are the kernel's for it and the
children it waited for (Ray's workers are not among them: of FuxiCTR only the wall time counts). All count
values on the first 12/14 of the rows, keep those seen ten times, and write ids and numbers as Parquet.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

LABEL, NUMBERS, CATEGORIES = "label", [f"I{i}" for i in range(1, 14)], [f"C{i}" for i in range(1, 27)]
NAMES = [LABEL, *NUMBERS, *CATEGORIES]
MIN_COUNT, TRAIN = 10, 12 / 14
PEERS = ("pandas", "polars", "fuxictr")
CONTENDERS = ("wukongctl", "own", "disk", "parse", "write", *PEERS)


def parse(raw: Path, out: Path) -> None:
    """DuckDB reads every column once."""
    import duckdb

    connection = _duckdb(duckdb)
    counted = ", ".join(f"count({name})" for name in NAMES)
    connection.execute(f"SELECT {counted} FROM ({_scan(raw)})").fetchall()


def write(raw: Path, out: Path) -> None:
    """DuckDB reads what the preparation before wrote and writes it again as one Parquet file."""
    import duckdb

    prepared = out.parent / "prepared/criteo"
    _duckdb(duckdb).execute(
        f"COPY (FROM read_parquet('{prepared}/t*/*.parquet')) TO '{out}/ids.parquet' (COMPRESSION zstd)"
    )


def wukongctl(raw: Path, out: Path) -> None:
    """`wukongctl prepare` of a published file, as Criteo's is: verified, and its number of rows known."""
    md5, rows = os.environ["RAW_MD5"], int(os.environ["RAW_ROWS"])
    _prepare(raw, out, {"files": {"train.txt": {"md5": md5}}, "expect": {"total": {"rows": rows}}})


def own(raw: Path, out: Path) -> None:
    """`wukongctl prepare` of anybody's file: SHA-256 only, and its rows counted before it is split."""
    _prepare(raw, out, {"files": {"train.txt": {}}, "expect": {}})


def disk(raw: Path, out: Path) -> None:
    """The same with rows on disk until they are encoded, as if they did not fit in memory."""
    from wukongctl.data.pipeline import reading

    reading.HELD_SHARE = 0.0
    own(raw, out)


def _prepare(raw: Path, out: Path, known: dict[str, object]) -> None:
    from wukongctl.config import library, loading
    from wukongctl.config.dataset import DatasetSpec
    from wukongctl.data.options import Options
    from wukongctl.data.prepare import prepare

    spec = loading.load(library.find("criteo", "datasets"), DatasetSpec)
    spec = DatasetSpec.model_validate(spec.model_dump(exclude_unset=True) | known)
    limit = os.environ.get("MEMORY_LIMIT")
    prepare(spec, Options(raw.parent, out=out, source=raw, threads=2, memory_limit=limit))


def pandas(raw: Path, out: Path) -> None:
    """Two passes in chunks: value counts, then a dictionary look-up per column."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = dict.fromkeys(CATEGORIES, str) | dict.fromkeys(NUMBERS, "float32") | {LABEL: "uint8"}

    def chunks() -> "pd.io.parsers.TextFileReader":
        return pd.read_csv(raw, sep="\t", header=None, names=NAMES, dtype=types, chunksize=500_000)

    left = int(_rows(raw) * TRAIN)
    counts: dict[str, list[pd.Series]] = {name: [] for name in CATEGORIES}
    for chunk in chunks():
        for name in CATEGORIES:
            counts[name].append(chunk[name].iloc[:left].value_counts())
        left = max(left - len(chunk), 0)
    ids = {}
    for name, parts in counts.items():
        total = pd.concat(parts).groupby(level=0).sum()
        kept = total[total >= MIN_COUNT].sort_values(ascending=False, kind="stable").index
        ids[name] = dict(zip(kept, range(2, len(kept) + 2), strict=True))
    writer = None
    for chunk in chunks():
        encoded = {LABEL: chunk[LABEL]}
        encoded |= {name: np.log1p(chunk[name].clip(lower=0)).fillna(0).astype("float32") for name in NUMBERS}
        for name in CATEGORIES:
            known = chunk[name].map(ids[name]).fillna(1).astype("int32")
            encoded[name] = known.mask(chunk[name].isna(), 0)
        table = pa.table(encoded)
        writer = writer or pq.ParquetWriter(out / "ids.parquet", table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()


def polars(raw: Path, out: Path) -> None:
    """Everything in memory: value counts, then a cast to an Enum of the kept values."""
    import polars as pl

    types = {LABEL: pl.UInt8} | dict.fromkeys(NUMBERS, pl.Int32) | dict.fromkeys(CATEGORIES, pl.String)
    frame = pl.read_csv(raw, separator="\t", has_header=False, schema=types, quote_char=None)
    train = frame.head(int(len(frame) * TRAIN))
    columns = [pl.col(LABEL)]
    columns += [pl.col(name).clip(0).cast(pl.Float32).log1p().fill_null(0) for name in NUMBERS]
    for name in CATEGORIES:
        counted = train[name].drop_nulls().value_counts().filter(pl.col("count") >= MIN_COUNT)
        kept = counted.sort("count", name, descending=[True, False])[name]
        known = pl.col(name).cast(pl.Enum(kept), strict=False).to_physical().cast(pl.Int32) + 2
        columns.append(pl.when(pl.col(name).is_null()).then(0).otherwise(known.fill_null(1)).alias(name))
    frame.select(columns).write_parquet(out / "ids.parquet", compression="zstd")


def fuxictr(raw: Path, out: Path) -> None:
    """FuxiCTR's own path, numbers untransformed, no validation or test split; its CSV is made beforehand."""
    from fuxictr.preprocess import FeatureProcessor, build_dataset

    numbers = {"name": NUMBERS, "active": True, "dtype": "float", "type": "numeric", "fill_na": 0}
    categories = {"name": CATEGORIES, "active": True, "dtype": "str", "type": "categorical", "fill_na": ""}
    encoder = FeatureProcessor(
        feature_cols=[numbers, categories],
        label_col={"name": LABEL, "dtype": "float"},
        dataset_id="criteo",
        data_root=str(out),
    )
    build_dataset(encoder, train_data=str(_with_header(raw)), min_categr_count=MIN_COUNT)


def _rows(raw: Path) -> int:
    with raw.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 22), b""))


def _md5(raw: Path) -> str:
    with raw.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _with_header(raw: Path) -> Path:
    return raw.with_suffix(".csv")


def _make_csv(raw: Path) -> None:
    target = _with_header(raw)
    if not target.is_file():
        import duckdb

        _duckdb(duckdb).execute(f"COPY ({_scan(raw)}) TO '{target}' (HEADER, DELIMITER ',')")


def _duckdb(duckdb: object) -> object:
    connection = duckdb.connect()  # type: ignore[attr-defined]
    connection.execute("SET threads = 2; SET enable_progress_bar = false")
    return connection


def _scan(raw: Path) -> str:
    types = {LABEL: "UTINYINT"} | dict.fromkeys(NUMBERS, "INTEGER") | dict.fromkeys(CATEGORIES, "VARCHAR")
    return (
        f"FROM read_csv('{raw}', delim='\\t', quote='', escape='', header=false, auto_detect=false, "
        f"columns={types})"
    )


def measure(name: str, raw: Path, folder: Path, python: str) -> dict[str, float]:
    """Run one contender and measure its process; `temp` is the most its folder held at any moment."""
    out = folder / ("prepared" if name == "wukongctl" else name)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.3):
            peak[0] = max(peak[0], _size(out))

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    threads = {"POLARS_MAX_THREADS": "2", "OMP_NUM_THREADS": "2"}
    process = subprocess.Popen(
        [python, __file__, str(raw), "--contender", name, "--folder", str(out)],
        env={**os.environ, **threads},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    done.set()
    watcher.join()
    if status:
        sys.exit(f"{name} failed:\n{errors.decode()[-3000:]}")
    return {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1e3,
        "temp_mb": max(peak[0] - _size(out), 0) / 1e6,
        "output_mb": _size(out, ".parquet") / 1e6,
    }


def _size(folder: Path, suffix: str = "") -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(suffix):
                path = Path(parent) / name
                total += path.stat().st_size if path.is_file() else 0
    return total


def main() -> None:
    """Interleave the contenders and print the median of each figure, and every round as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("preparation-benchmark"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=CONTENDERS)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    raw = arguments.raw.resolve()
    if arguments.contender is not None:
        run = {f.__name__: f for f in (wukongctl, own, disk, parse, write, pandas, polars, fuxictr)}
        run[arguments.contender](raw, arguments.folder.resolve())
        return
    if "fuxictr" in arguments.only:
        _make_csv(raw)
    rows = _rows(raw)
    os.environ |= {"RAW_ROWS": str(rows), "RAW_MD5": _md5(raw)}
    order = [name for name in CONTENDERS if name in arguments.only]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in order}
    for _ in range(arguments.rounds):
        for name in order:
            python = arguments.peers_python if name in PEERS else sys.executable
            results[name].append(measure(name, raw, arguments.folder.resolve(), python))
            print(json.dumps({"contender": name, "rows": rows, **results[name][-1]}), flush=True)
    heads = ("wall s", "CPU s", "krows/CPU-s", "peak MB", "temp MB", "B/row")
    print("\n" + " " * 10 + "".join(f"{head:>12}" for head in heads))
    for name, rounds in results.items():
        wall, cpu, peak, temp, output = (
            statistics.median(entry[key] for entry in rounds)
            for key in ("wall", "cpu", "peak_mb", "temp_mb", "output_mb")
        )
        figures = (wall, cpu, rows / cpu / 1e3, peak, temp, output * 1e6 / rows)
        print(f"{name:10}" + "".join(f"{figure:12.1f}" for figure in figures))


if __name__ == "__main__":
    main()
