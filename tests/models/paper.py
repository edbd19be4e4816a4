"""Tables 3 and 5 of the Wukong paper (arXiv 2403.02545): published rows, and the layouts behind them.

`python -m tests.models.paper` prints both tables as they stand in docs/reference/models.md.
"""

from dataclasses import dataclass
from typing import Any

import torch

from wukongctl.config.training import TrainingSpec
from wukongctl.data.schema import Schema
from wukongctl.models import build
from wukongctl.models.counts import count


def columns(n: int, rows: int, numeric: int = 0) -> Schema:
    """`n` categorical columns whose tables have `rows` rows together."""
    names = tuple(f"C{i}" for i in range(n))
    return Schema(names, tuple(f"I{i}" for i in range(numeric)), (), (rows - (n - 1), *(1,) * (n - 1)))


FRAPPE = Schema(("user", "item", *(f"C{i}" for i in range(8))), (), (), (956, 4084, 352, *(1,) * 7))
MOVIELENS = columns(3, 90_242)
MICROVIDEO = columns(5, 11_502)
KUAIVIDEO = columns(7, 642_408)
TAOBAO = columns(20, 1_295_076)
CRITEO = columns(26, 204_184_588, numeric=13)

BARS_DNN = {"hidden": [400, 400, 400], "batch_norm": True}
AUTOINT_TAOBAO = {"attention_layers": 3, "attention_width": 128, "heads": 1, "scale": False}
AUTOINT_KUAI = {"attention_layers": 3, "attention_width": 512, "heads": 4, "scale": False}
AUTOINT_MOVIELENS = {"attention_layers": 2, "attention_width": 128, "heads": 4, "layer_norm": True}
MASKNET_CRITEO = {"structure": "serial", "reduction": 0.2, "hidden": [400, 400, 400]}
AFN_CRITEO = {"neurons": 100, "afn_hidden": [200], "batch_norm": True}


@dataclass(frozen=True)
class Layout:
    """What gives the counts of one row of Table 3."""

    why: str
    schema: Schema
    keys: dict[str, Any]

    def ours(self) -> tuple[int, float]:
        """Parameters and training MFLOP per example."""
        with torch.device("meta"):
            spec = TrainingSpec.from_dict({"data": "paper", "model": self.keys})
            counts = count(build(spec.model, self.schema, sparse=False))
        return counts.dense_params + counts.embedding_params, counts.gflop * 1e3


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

CIN = "linear model and CIN without any MLP, d = 10; CIN counted by us, not by the paper"

LAYOUTS = {
    ("Frappe", "AFN+"): Layout(
        "tuned settings of BARS at d = 32",
        FRAPPE,
        {"name": "afn", "width": 32, "neurons": 1000, "afn_hidden": [400]},
    ),
    ("Frappe", "AutoInt+"): Layout(
        "six layers of width 128 without any MLP, so AutoInt, d = 10",
        FRAPPE,
        {"name": "autoint", "width": 10, "attention_layers": 6, "attention_width": 128, "hidden": None},
    ),
    ("Frappe", "DCNv2"): Layout(
        "four cross layers without any MLP, d = 128",
        FRAPPE,
        {"name": "dcnv2", "width": 128, "cross_layers": 4, "structure": "cross"},
    ),
    ("Frappe", "DLRM"): Layout(
        "tuned settings of BARS at d = 128, concatenation",
        FRAPPE,
        {"name": "dlrm", "width": 128, "top": [400, 400, 400], "interaction": "cat", "batch_norm": True},
    ),
    ("Frappe", "FinalMLP"): Layout(
        "tuned settings of BARS at d = 128",
        FRAPPE,
        {
            "name": "finalmlp",
            "width": 128,
            "mlp1": {"hidden": [400]},
            "mlp2": {"hidden": [100]},
            "heads": 5,
            "selection": {"hidden": [400], "context1": ["user"], "context2": ["item"]},
        },
    ),
    ("Frappe", "MaskNet"): Layout(
        "tuned settings of BARS at d = 128, blocks of 100 instead of 50",
        FRAPPE,
        {"name": "masknet", "width": 128, "blocks": 3, "block_width": 100, "reduction": 2.0},
    ),
    ("Frappe", "xDeepFM"): Layout(
        CIN, FRAPPE, {"name": "xdeepfm", "width": 10, "cin": [16, 16, 16], "hidden": None}
    ),
    ("MicroVideo", "AFN+"): Layout(
        "tuned settings of BARS for Criteo_x1, d = 64, 5 fields",
        MICROVIDEO,
        {"name": "afn", "width": 64, **AFN_CRITEO},
    ),
    ("MicroVideo", "DLRM"): Layout(
        "dot products, top 3 x 1024 with BatchNorm, d = 64, 5 fields",
        MICROVIDEO,
        {"name": "dlrm", "width": 64, "top": [1024] * 3, "batch_norm": True},
    ),
    ("MicroVideo", "MaskNet"): Layout(
        "8 blocks of 128, ratio 0.5, top 3 x 128; not the only fit",
        MICROVIDEO,
        {
            "name": "masknet",
            "width": 64,
            "blocks": 8,
            "block_width": 128,
            "reduction": 0.5,
            "hidden": [128] * 3,
        },
    ),
    ("MovieLens", "AFN+"): Layout(
        "tuned settings of BARS at d = 32",
        MOVIELENS,
        {"name": "afn", "width": 32, "neurons": 800, "afn_hidden": [200]},
    ),
    ("MovieLens", "AutoInt+"): Layout(
        "tuned settings of BARS without the linear model",
        MOVIELENS,
        {"name": "autoint", "width": 10, **AUTOINT_MOVIELENS, **BARS_DNN},
    ),
    ("MovieLens", "DCNv2"): Layout(
        "tuned settings of BARS", MOVIELENS, {"name": "dcnv2", "width": 10, "cross_layers": 5, **BARS_DNN}
    ),
    ("MovieLens", "DLRM"): Layout(
        "tuned settings of BARS, concatenation",
        MOVIELENS,
        {"name": "dlrm", "width": 10, "top": [400, 400, 400], "interaction": "cat", "batch_norm": True},
    ),
    ("MovieLens", "FinalMLP"): Layout(
        "tuned settings of BARS",
        MOVIELENS,
        {"name": "finalmlp", "width": 10, "mlp1": {"hidden": [400]}, "mlp2": {"hidden": [800]}, "heads": 10},
    ),
    ("MovieLens", "MaskNet"): Layout(
        "tuned settings of BARS",
        MOVIELENS,
        {"name": "masknet", "width": 10, "structure": "serial", "reduction": 4.0},
    ),
    ("MovieLens", "xDeepFM"): Layout(
        CIN, MOVIELENS, {"name": "xdeepfm", "width": 10, "cin": [16, 16, 16], "hidden": None}
    ),
    ("KuaiVideo", "AFN+"): Layout(
        "tuned settings of BARS for Criteo_x1, d = 64", KUAIVIDEO, {"name": "afn", "width": 64, **AFN_CRITEO}
    ),
    ("KuaiVideo", "AutoInt+"): Layout(
        "tuned settings of BARS without its three encoders",
        KUAIVIDEO,
        {"name": "autoint", "width": 64, **AUTOINT_KUAI, "hidden": [1024, 512, 256]},
    ),
    ("KuaiVideo", "DCNv2"): Layout(
        "tuned settings of BARS without its three encoders",
        KUAIVIDEO,
        {"name": "dcnv2", "width": 64, "cross_layers": 2, "hidden": [1024, 512, 256], "batch_norm": True},
    ),
    ("KuaiVideo", "DLRM"): Layout(
        "dot products, top 3 x 400 with BatchNorm, d = 64",
        KUAIVIDEO,
        {"name": "dlrm", "width": 64, "top": [400, 400, 400], "batch_norm": True},
    ),
    ("KuaiVideo", "MaskNet"): Layout(
        "tuned settings of BARS for Criteo_x1, d = 64",
        KUAIVIDEO,
        {"name": "masknet", "width": 64, **MASKNET_CRITEO},
    ),
    ("TaobaoAds", "AFN+"): Layout(
        "tuned settings of BARS for Criteo_x1, d = 64", TAOBAO, {"name": "afn", "width": 64, **AFN_CRITEO}
    ),
    ("TaobaoAds", "AutoInt+"): Layout(
        "tuned settings of BARS at d = 128",
        TAOBAO,
        {"name": "autoint", "width": 128, **AUTOINT_TAOBAO, "hidden": [512, 256, 128]},
    ),
    ("TaobaoAds", "DCNv2"): Layout(
        "tuned settings of BARS at d = 128",
        TAOBAO,
        {"name": "dcnv2", "width": 128, "cross_layers": 4, "hidden": [512, 256, 128]},
    ),
    ("TaobaoAds", "MaskNet"): Layout(
        "tuned settings of BARS for Criteo_x1, d = 32",
        TAOBAO,
        {"name": "masknet", "width": 32, **MASKNET_CRITEO},
    ),
    ("Criteo", "DCNv2"): Layout(
        "bottom 512-256-128, two full cross layers, 4 x 2048 on top",
        CRITEO,
        {
            "name": "dcnv2",
            "width": 128,
            "cross_layers": 2,
            "structure": "stacked",
            "hidden": [2048] * 4,
            "bottom": [512, 256],
        },
    ),
    ("Criteo", "DLRM"): Layout("bottom 512-256-128, top 512-512", CRITEO, {"name": "dlrm", "width": 128}),
}

UNPUBLISHED = "the chosen configuration is not published"
FROZEN = "has trained layers behind frozen vectors"
UNEXPLAINED = "no layout found near the tuned settings"


def why_not(data: str, model: str) -> str:
    """Why a row of Table 3 has no layout."""
    if model == "Wukong" or data == "Criteo":
        return UNPUBLISHED
    return FROZEN if (data, model) in {("MicroVideo", "xDeepFM"), ("KuaiVideo", "xDeepFM")} else UNEXPLAINED


def public_rows() -> list[tuple[str, str, int, float]]:
    """Table 3, parsed: data, model, parameters, MFLOP."""
    rows = (line.split() for line in TABLE_3.split("\n") if line)
    return [(data, model, int(params), float(mflop)) for data, model, params, mflop in rows]


INTERNAL = columns(720, 720)
"""Table 5: 720 features of width 160; the tables are a constant 627 B and left out here."""


@dataclass(frozen=True)
class Internal:
    """One row of Table 5: GFLOP per example and parameters in 2^30, and the plain reading of its name."""

    model: str
    name: str
    gflop: float
    params: float
    keys: dict[str, Any]

    def ours(self) -> tuple[float, float]:
        """GFLOP per example and dense parameters in 2^30."""
        with torch.device("meta"):
            spec = TrainingSpec.from_dict({"data": "paper", "model": {**self.keys, "width": 160}})
            counts = count(build(spec.model, INTERNAL, sparse=False))
        return counts.gflop, counts.dense_params / 2**30


def wukong(layers: int, n: int, k: int, width: int, gflop: float, params: float) -> Internal:
    keys = {
        "name": "wukong",
        "layers": layers,
        "n_F": n,
        "n_L": n,
        "k": k,
        "hidden": [width] * 3,
        "head": [2048],
    }
    return Internal("Wukong", f"l={layers} n={n} k={k} 3x{width}", gflop, params, keys)


def afn(hidden: int, afn_hidden: int, neurons: int, gflop: float, params: float) -> Internal:
    keys = {"name": "afn", "neurons": neurons, "afn_hidden": [afn_hidden] * 4, "hidden": [hidden] * 4}
    return Internal("AFN+", f"DNN 4x{hidden} AFN 4x{afn_hidden} nlog {neurons}", gflop, params, keys)


def autoint(width: int, heads: int, layers: int, hidden: int, gflop: float, params: float) -> Internal:
    keys = {"name": "autoint", "attention_width": width, "heads": heads, "hidden": [hidden] * layers}
    keys["structure"] = "stacked"
    return Internal("AutoInt+", f"3x{width} heads {heads} DNN {layers}x{hidden}", gflop, params, keys)


def dcn(width: int, gflop: float, params: float) -> Internal:
    keys = {"name": "dcnv2", "cross_layers": 2, "rank": 512, "structure": "stacked", "hidden": [width] * 4}
    return Internal("DCN", f"l=2 rank 512 4x{width}", gflop, params, keys)


def dlrm(layers: int, width: int, gflop: float, params: float) -> Internal:
    return Internal("DLRM", f"{layers}x{width}", gflop, params, {"name": "dlrm", "top": [width] * layers})


def finalmlp(
    first: tuple[int, int],
    second: tuple[int, int],
    selection: tuple[int, int] | None,
    gflop: float,
    params: float,
) -> Internal:
    streams = [{"hidden": [width] * layers + [64], "batch_norm": False} for layers, width in (first, second)]
    keys = {"name": "finalmlp", "mlp1": streams[0], "mlp2": streams[1], "heads": 1, "selection": None}
    if selection is not None:
        halves = INTERNAL.categorical[:360], INTERNAL.categorical[360:]
        hidden = [selection[1]] * selection[0]
        keys["selection"] = {"hidden": hidden, "context1": halves[0], "context2": halves[1]}
    names = [f"{layers}x{width}" for layers, width in (first, second, *([selection] if selection else []))]
    return Internal(
        "FinalMLP", " + ".join(names[:2]) + (f" FS {names[2]}" if selection else ""), gflop, params, keys
    )


def masknet(layers: int, width: int, blocks: int, reduction: float, gflop: float, params: float) -> Internal:
    keys = {
        "name": "masknet",
        "blocks": blocks,
        "block_width": 128,
        "reduction": reduction,
        "hidden": [width] * layers,
    }
    return Internal("MaskNet", f"{layers}x{width} {blocks} blocks ratio {reduction:g}", gflop, params, keys)


TABLE_5 = (
    wukong(2, 8, 24, 2048, 0.53, 627.74),
    wukong(4, 32, 24, 2048, 1.25, 627.82),
    wukong(8, 32, 24, 2048, 2.12, 627.95),
    wukong(8, 48, 48, 4096, 5.6, 628.46),
    wukong(8, 96, 96, 8192, 22.23, 630.96),
    wukong(8, 96, 96, 16384, 61, 636.99),
    wukong(8, 192, 192, 16384, 108, 644),
    afn(2048, 2048, 1024, 4.41, 628.22),
    afn(4096, 2048, 1024, 7.65, 628.74),
    afn(4096, 4096, 2048, 13.08, 629.46),
    afn(8192, 8192, 4096, 43.4, 633.95),
    autoint(256, 4, 2, 256, 7.72, 627.73),
    autoint(512, 4, 2, 256, 18.58, 627.77),
    autoint(512, 8, 3, 8192, 42.53, 631.49),
    autoint(512, 16, 3, 10240, 49.58, 632.59),
    autoint(512, 16, 3, 16384, 68.83, 635.57),
    dcn(2048, 3, 628.11),
    dcn(4096, 4.67, 628.37),
    dcn(16384, 17.85, 630.42),
    dcn(32768, 43.88, 634.46),
    dcn(51200, 84.71, 640.79),
    dlrm(2, 512, 1.37, 627.78),
    dlrm(4, 512, 1.37, 627.78),
    dlrm(4, 2048, 3.85, 628.17),
    dlrm(4, 4096, 7.29, 628.7),
    dlrm(4, 8192, 14.61, 629.84),
    dlrm(4, 16384, 31, 632.39),
    dlrm(4, 32768, 71.23, 638.62),
    finalmlp((4, 4096), (2, 1024), None, 3.93, 628.25),
    finalmlp((4, 4096), (2, 1024), (1, 2048), 8.17, 628.91),
    finalmlp((4, 8192), (2, 2048), (1, 4096), 16.9, 630.27),
    finalmlp((8, 8192), (4, 2048), (2, 4096), 18.77, 630.56),
    finalmlp((4, 16384), (2, 4096), (1, 8192), 36.26, 633.27),
    finalmlp((4, 24576), (2, 6144), (1, 12288), 58.12, 636.67),
    masknet(1, 512, 1, 0.01, 1.76, 627.92),
    masknet(1, 512, 4, 0.01, 6.8, 628.7),
    masknet(3, 2048, 4, 0.01, 6.88, 628.71),
    masknet(3, 2048, 4, 0.05, 32.36, 632.67),
    masknet(3, 2048, 4, 0.1, 64.21, 637.61),
)

TABLES = 627.65
"""2^30 parameters in the tables of every internal run: the rows less their dense part."""


def table_3() -> list[str]:
    """Markdown rows: theirs beside ours."""
    head = ["data", "model", "parameters: paper", "ours", "MFLOP: paper", "ours", "layout, or why not"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for data, model, params, mflop in public_rows():
        ours, why = ("–", "–"), why_not(data, model)
        if (data, model) in LAYOUTS:
            layout = LAYOUTS[data, model]
            count_, cost = layout.ours()
            ours, why = ("equal" if count_ == params else f"{count_:,}", f"{cost:.2f}"), layout.why
        lines.append(f"| {data} | {model} | {params:,} | {ours[0]} | {mflop:.2f} | {ours[1]} | {why} |")
    return lines


def table_5() -> list[str]:
    """Markdown rows: theirs beside ours."""
    head = [
        "model",
        "configuration",
        "GFLOP: paper",
        "ours",
        "ours / paper",
        "dense 2^30 parameters: paper",
        "ours",
    ]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in TABLE_5:
        gflop, params = row.ours()
        cells = [row.model, row.name, f"{row.gflop:g}", f"{gflop:.2f}", f"{gflop / row.gflop:.3f}"]
        lines.append(f"| {' | '.join([*cells, f'{row.params - TABLES:.2f}', f'{params:.2f}'])} |")
    return lines


if __name__ == "__main__":
    print("\n".join([*table_3(), "", *table_5()]))
