"""Tables 3 and 5 of the Wukong paper (arXiv 2403.02545): published rows, and the recipes behind ours.

`python -m tests.models.paper` prints both tables as they stand in docs/results/2026-11-paper-tables.md.
"""

from dataclasses import dataclass

import torch

from wukongctl.config import library
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.loading import load
from wukongctl.config.training import TrainingSpec
from wukongctl.data.schema import Schema, schema_from_recipe
from wukongctl.models import build
from wukongctl.models.counts import Counts, count


def columns(names: str, rows: int, numeric: int = 0) -> Schema:
    """Categorical columns whose tables have `rows` rows in total, and numeric columns I1, I2, …"""
    features = tuple(names.split())
    tables = (rows - (len(features) - 1), *(1,) * (len(features) - 1))
    return Schema(features, tuple(f"I{i}" for i in range(1, numeric + 1)), (), tables)


def numbered(letter: str, n: int) -> str:
    return " ".join(f"{letter}{i}" for i in range(1, n + 1))


# What the paper's parameter counts imply: one embedding per feature, and no matrix behind frozen vectors.
COLUMNS = {
    "frappe": Schema(("user", "item", *numbered("c", 8).split()), (), (), (956, 4084, 352, *(1,) * 7)),
    "microvideo": columns(numbered("c", 5), 11_502),
    "movielens-latest": columns("user_id item_id tag_id", 90_242),
    "kuaivideo": columns(numbered("c", 7), 642_408),
    "taobao-ads": columns(numbered("c", 20), 1_295_076),
    "criteo-tb": columns(numbered("C", 26), 204_184_588, numeric=13),
}
FOLDERS = {
    "Frappe": "frappe",
    "MicroVideo": "microvideo",
    "MovieLens": "movielens-latest",
    "KuaiVideo": "kuaivideo",
    "TaobaoAds": "taobao-ads",
    "Criteo": "criteo-tb",
}
MODELS = {
    "AFN+": "afn",
    "AutoInt+": "autoint",
    "DCN": "dcn",
    "DCNv2": "dcnv2",
    "DLRM": "dlrm",
    "FinalMLP": "finalmlp",
    "MaskNet": "masknet",
    "xDeepFM": "xdeepfm",
    "Wukong": "wukong",
}

TABLE_3 = """
Frappe AFN+ 13607961 81.45
Frappe AutoInt+ 306151 15.98
Frappe DCNv2 7251073 39.35
Frappe DLRM 1527073 4.99
Frappe FinalMLP 3115954 10.66
Frappe MaskNet 21189593 122.92
Frappe xDeepFM 66206 0.01
Frappe Wukong 7769589 44.09
MicroVideo AFN+ 3205771 10.57
MicroVideo AutoInt+ 1989378 10.74
MicroVideo DCNv2 3454209 11.84
MicroVideo DLRM 2853761 12.66
MicroVideo FinalMLP 3020498 9.25
MicroVideo MaskNet 2053249 7.87
MicroVideo xDeepFM 5147446 5.91
MicroVideo Wukong 2219409 9.08
MovieLens AFN+ 11259899 33.36
MovieLens AutoInt+ 1293590 3.00
MovieLens DCNv2 1243101 2.02
MovieLens DLRM 1238421 1.99
MovieLens FinalMLP 1040902 0.81
MovieLens MaskNet 2624571 10.30
MovieLens xDeepFM 994439 0.00
MovieLens Wukong 17734369 37.49
KuaiVideo AFN+ 84013143 10.95
KuaiVideo AutoInt+ 43937794 79.18
KuaiVideo DCNv2 42636609 9.10
KuaiVideo DLRM 41446513 1.99
KuaiVideo FinalMLP 580227666 12.17
KuaiVideo MaskNet 41833034 4.29
KuaiVideo xDeepFM 53912381 6.81
KuaiVideo Wukong 44671649 22.27
TaobaoAds AFN+ 167888773 13.45
TaobaoAds AutoInt+ 167395330 28.41
TaobaoAds DCNv2 193472513 166.19
TaobaoAds DLRM 42192033 4.53
TaobaoAds FinalMLP 85624114 16.39
TaobaoAds MaskNet 42353201 5.44
TaobaoAds xDeepFM 168867028 2.98
TaobaoAds Wukong 175724173 63.00
Criteo AFN+ 26436527675 1826.50
Criteo AutoInt+ 26142619137 163.34
Criteo DCNv2 26179364097 262.35
Criteo DLRM 26136307201 4.62
Criteo FinalMLP 26149500924 84.95
Criteo MaskNet 26160209153 147.40
Criteo xDeepFM 26300221171 41.57
Criteo Wukong 26163636001 173.73
"""
"""Data, model, parameters, MFLOP per example."""

TABLE_5 = """
wukong-1 0.53 627.74
wukong-2 1.25 627.82
wukong-3 2.12 627.95
wukong-4 5.6 628.46
wukong-5 22.23 630.96
wukong-6 61 636.99
wukong-7 108 644
afn-1 4.41 628.22
afn-2 7.65 628.74
afn-3 13.08 629.46
afn-4 43.4 633.95
autoint-1 7.72 627.73
autoint-2 18.58 627.77
autoint-3 42.53 631.49
autoint-4 49.58 632.59
autoint-5 68.83 635.57
dcn-1 3 628.11
dcn-2 4.67 628.37
dcn-3 17.85 630.42
dcn-4 43.88 634.46
dcn-5 84.71 640.79
dlrm-1 1.37 627.78
dlrm-2 1.37 627.78
dlrm-3 3.85 628.17
dlrm-4 7.29 628.7
dlrm-5 14.61 629.84
dlrm-6 31 632.39
dlrm-7 71.23 638.62
finalmlp-1 3.93 628.25
finalmlp-2 8.17 628.91
finalmlp-3 16.9 630.27
finalmlp-4 18.77 630.56
finalmlp-5 36.26 633.27
finalmlp-6 58.12 636.67
masknet-1 1.76 627.92
masknet-2 6.8 628.7
masknet-3 6.88 628.71
masknet-4 32.36 632.67
masknet-5 64.21 637.61
"""
"""Recipe, GFLOP per example, parameters in 2^30."""

TABLES = 627.65
"""2^30 parameters in the tables of every internal run: the rows less their dense part."""


def counted(recipe: str, schema: Schema) -> Counts:
    """The cost of the recipe `paper/<recipe>` on these columns."""
    spec = load(library.find(f"paper/{recipe}"), TrainingSpec)
    with torch.device("meta"):
        return count(build(spec.model, schema, sparse=False))


def remark(recipe: str) -> str:
    """The first line of a recipe after its colon."""
    first = library.find(f"paper/{recipe}").read_text(encoding="utf-8").splitlines()[0]
    return first.partition(": ")[2].removesuffix(".")


@dataclass(frozen=True)
class Public:
    """One row of Table 3."""

    data: str
    model: str
    params: int
    mflop: float

    @property
    def recipe(self) -> str:
        """Below `paper/`."""
        return f"table2/{FOLDERS[self.data]}/{MODELS[self.model]}"

    @property
    def schema(self) -> Schema:
        """The columns that the paper's counts imply."""
        if (self.data, self.model) == (
            "TaobaoAds",
            "DLRM",
        ):  # its only numeric feature passes through the bottom MLP
            return schema_from_recipe(load(library.find("taobao-ads", "datasets"), DatasetSpec))
        return COLUMNS[FOLDERS[self.data]]

    def ours(self) -> tuple[int, float]:
        """Parameters and training MFLOP per example."""
        counts = counted(self.recipe, self.schema)
        return counts.dense_params + counts.embedding_params, counts.gflop * 1e3


@dataclass(frozen=True)
class Internal:
    """One row of Table 5."""

    name: str
    gflop: float
    params: float

    @property
    def recipe(self) -> str:
        """Below `paper/`."""
        return f"table5/{self.name}"

    def ours(self) -> tuple[float, float]:
        """GFLOP per example and dense parameters in 2^30."""
        counts = counted(self.recipe, INTERNAL)
        return counts.gflop, counts.dense_params / 2**30


INTERNAL = schema_from_recipe(load(library.find("paper-internal", "datasets"), DatasetSpec))
_public = (line.split() for line in TABLE_3.split("\n") if line)
PUBLIC_ROWS = tuple(Public(data, model, int(params), float(mflop)) for data, model, params, mflop in _public)
_internal = (line.split() for line in TABLE_5.split("\n") if line)
INTERNAL_ROWS = tuple(Internal(name, float(gflop), float(params)) for name, gflop, params in _internal)


def table_3() -> list[str]:
    """Markdown rows: theirs beside ours."""
    head = ["data", "model", "parameters: paper", "ours", "MFLOP: paper", "ours", "our recipe"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in PUBLIC_ROWS:
        params, mflop = row.ours()
        cells = [row.data, row.model, f"{row.params:,}", "equal" if params == row.params else f"{params:,}"]
        cells += [f"{row.mflop:.2f}", f"{mflop:.2f}", remark(row.recipe)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def table_5() -> list[str]:
    """Markdown rows: theirs beside ours."""
    head = ["recipe", "configuration", "GFLOP: paper", "ours", "ours / paper"]
    head += ["dense 2^30 parameters: paper", "ours"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in INTERNAL_ROWS:
        gflop, params = row.ours()
        cells = [f"`{row.name}`", remark(row.recipe), f"{row.gflop:g}", f"{gflop:.2f}"]
        cells += [f"{gflop / row.gflop:.3f}", f"{row.params - TABLES:.2f}", f"{params:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    print("\n".join([*table_3(), "", *table_5()]))
