"""Time of a collective between the GPUs of several servers, by bandwidth alone."""

from dataclasses import dataclass
from typing import Literal

from wukongctl.cost.gpus import Gpu
from wukongctl.cost.step import Phase

Pattern = Literal["all-to-all", "ring"]


@dataclass(frozen=True)
class Collective:
    """What every GPU sends once per step, in bytes; what it receives is no more.

    `overlaps` is the phase of the step that runs meanwhile; None while everything waits.
    """

    name: str
    pattern: Pattern
    sent: int
    overlaps: Phase | None = None

    def over_network(self, gpus: int, per_node: int) -> float:
        """Bytes that leave the server, per GPU.

        All-to-all sends the same to every GPU. Rings cross from server to server once, each through another
        of the server's network adapters, as NCCL builds them.
        """
        if gpus <= per_node:
            return 0.0
        if self.pattern == "all-to-all":
            return self.sent * (gpus - per_node) / (gpus - 1)
        return self.sent / per_node

    def seconds(self, gpu: Gpu, gpus: int, *, share: float) -> float:
        """The longer of the two ways, inside the server and outside, at `share` of the published rates."""
        outside = self.over_network(gpus, gpu.per_node)
        inside = self.sent - outside if self.pattern == "all-to-all" else self.sent
        network = 0.0 if gpu.network is None else outside / gpu.network
        return max(inside / gpu.link, network) / share
