"""Published numbers of GPUs and of the servers they are sold in.

Data sheets print rates of tensor cores with 2:4 sparsity, which training does not have: here are the dense
ones, half of those. They print both directions of a link: here is one. Memory is decimal, as printed.
Where sources differ, the lowest number is taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MB, GB, TB, TFLOP = 1e6, 1e9, 1e12, 1e12
GBIT = 1e9 / 8


@dataclass(frozen=True)
class Gpu:
    """One GPU in its usual server: bytes, bytes per second, FLOP per second."""

    name: str
    title: str
    memory: float
    bandwidth: float
    """Of its memory."""
    peaks: Mapping[str, float]
    """Of dense matrix products, by the `precision` of a recipe; without those it has no instructions for."""
    link: float
    """To the other GPUs of the server, one direction: NVLink, or PCIe where there is none."""
    network: float | None
    """To other servers, one direction: its part of the server's network; None where we found no source."""
    per_node: int
    """GPUs of one server."""
    host_memory: float | None
    """Of the server."""
    server: str
    sources: tuple[str, ...]

    def precision(self, wanted: str) -> str:
        """The precision of matrix products where a recipe asks for `wanted`, as training falls back."""
        return wanted if wanted in self.peaks else "float32"

    def to_dict(self) -> dict[str, Any]:
        """The object `gpu` of a plan."""
        return {
            "name": self.name,
            "title": self.title,
            "memory": self.memory,
            "bandwidth": self.bandwidth,
            "peaks": dict(self.peaks),
            "link": self.link,
            "network": self.network,
            "per_node": self.per_node,
            "host_memory": self.host_memory,
            "server": self.server,
            "sources": list(self.sources),
        }


_AMPERE = {"bfloat16": 312 * TFLOP, "tf32": 156 * TFLOP, "float32": 19.5 * TFLOP}
_HOPPER = {"bfloat16": 1979 / 2 * TFLOP, "tf32": 989 / 2 * TFLOP, "float32": 67 * TFLOP}
_A100 = "NVIDIA A100 data sheet 1758950, quoted at glennklockwood.com/garden/processors/A100"
_DGX_A100 = "NVIDIA DGX A100 user guide DU-09821: 8 single-port ConnectX-6 of 200 Gb/s"
_DGX = "docs.nvidia.com/dgx-basepod, core components: 8 single-port ConnectX-7 of up to 400 Gb/s"

_ALL = (
    Gpu(
        name="a100-40",
        title="A100 SXM 40 GB",
        memory=40 * GB,
        bandwidth=1555 * GB,
        peaks=_AMPERE,
        link=300 * GB,
        network=200 * GBIT,
        per_node=8,
        host_memory=None,
        server="DGX A100",
        sources=(_A100, _DGX_A100),
    ),
    Gpu(
        name="a100-80",
        title="A100 SXM 80 GB",
        memory=80 * GB,
        bandwidth=2039 * GB,
        peaks=_AMPERE,
        link=300 * GB,
        network=200 * GBIT,
        per_node=8,
        host_memory=None,
        server="DGX A100",
        sources=(_A100, _DGX_A100),
    ),
    Gpu(
        name="h100",
        title="H100 SXM 80 GB",
        memory=80 * GB,
        bandwidth=3.35 * TB,
        peaks=_HOPPER,
        link=450 * GB,
        network=400 * GBIT,
        per_node=8,
        host_memory=2 * TB,
        server="DGX H100",
        sources=(
            "NVIDIA H100 data sheet, quoted at archive-lib.hpctech.co.jp/gpuproduct/nvidia-h100.html",
            _DGX,
        ),
    ),
    Gpu(
        name="h200",
        title="H200 SXM 141 GB",
        memory=141 * GB,
        bandwidth=4.8 * TB,
        peaks=_HOPPER,
        link=450 * GB,
        network=400 * GBIT,
        per_node=8,
        host_memory=2 * TB,
        server="DGX H200",
        sources=(
            "NVIDIA in MLPerf inference 4.1, H200-SXM-141GBx8_TRT_MaxQ.json; rates of H100, the same chip",
            _DGX,
        ),
    ),
    Gpu(
        name="b200",
        title="B200 SXM 180 GB",
        memory=180 * GB,
        bandwidth=7.7 * TB,
        peaks={"bfloat16": 2250 * TFLOP, "tf32": 1100 * TFLOP, "float32": 75 * TFLOP},
        link=900 * GB,
        network=400 * GBIT,
        per_node=8,
        host_memory=None,
        server="DGX B200",
        sources=(
            "NVIDIA Blackwell architecture brief, quoted at glennklockwood.com/garden/processors/B200, but "
            "memory, bandwidth and float32 are lower elsewhere (there: 192 GB, 8 TB/s, 80 TFLOP/s)",
            _DGX,
        ),
    ),
    Gpu(
        name="l4",
        title="L4 24 GB",
        memory=24 * GB,
        bandwidth=300 * GB,
        peaks={"bfloat16": 242 / 2 * TFLOP, "tf32": 120 / 2 * TFLOP, "float32": 30.3 * TFLOP},
        link=32 * GB,
        network=None,
        per_node=4,
        host_memory=None,
        server="AWS g6.12xlarge",
        sources=("NVIDIA L4 data sheet: PCIe 4.0 x16, no NVLink", "AWS Batch user guide: 4 GPUs"),
    ),
    Gpu(
        name="t4",
        title="T4 16 GB",
        memory=16 * GB,
        bandwidth=320 * GB,
        peaks={"float32": 8.1 * TFLOP},
        link=16 * GB,
        network=50 / 4 * GBIT,
        per_node=4,
        host_memory=192 * 2**30,
        server="AWS g4dn.12xlarge",
        sources=(
            "NVIDIA T4 data sheet: PCIe 3.0 x16, no NVLink, neither bfloat16 nor TF32",
            "AWS Batch user guide: 4 GPUs, 50 Gb/s, 192 GiB",
        ),
    ),
)

GPUS: Mapping[str, Gpu] = {gpu.name: gpu for gpu in _ALL}
"""By the name that `flops --gpu` takes."""
