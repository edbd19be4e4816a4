"""Checksums of raw files, compared with the published ones."""

import gzip
import hashlib
import zlib
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from wukongctl.config.dataset import RawFile
from wukongctl.data.progress import Progress, ReportProgress, silent
from wukongctl.errors import RunFailed

CHUNK = 1 << 20


@dataclass
class Digests:
    """SHA-256, size and, if wanted, MD5 of the bytes so far."""

    with_md5: bool = True
    """It takes more than twice the time of SHA-256, and is for comparison with a published one only."""
    size: int = 0
    _md5: "hashlib._Hash" = field(default_factory=lambda: hashlib.md5(usedforsecurity=False))
    _sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def update(self, chunk: bytes, pool: Executor | None = None) -> None:
        """Add the next bytes; with `pool`, two digests are computed in parallel."""
        self.size += len(chunk)
        if not self.with_md5:
            self._sha256.update(chunk)
            return
        other = pool.submit(self._sha256.update, chunk) if pool is not None else None
        self._md5.update(chunk)
        other.result() if other is not None else self._sha256.update(chunk)

    @property
    def md5(self) -> str | None:
        """Hexadecimal MD5."""
        return self._md5.hexdigest() if self.with_md5 else None

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256."""
        return self._sha256.hexdigest()

    def differences(self, expected: RawFile) -> list[str]:
        """Mismatches with the published size and checksums, with both values."""
        pairs = [
            ("size", expected.bytes, self.size),
            ("md5", expected.md5, self.md5),
            ("sha256", expected.sha256, self.sha256),
        ]
        return [f"{what} is {got}, expected {want}" for what, want, got in pairs if want not in (None, got)]


def require_whole_gzip(path: Path, report: ReportProgress = silent) -> None:
    """RunFailed unless a gzip file is complete and its CRC matches, which DuckDB does not check."""
    try:
        total = path.stat().st_size
        with path.open("rb") as packed, gzip.open(packed) as file:
            while file.read(CHUNK):
                report(Progress(f"decompressing {path.name} to verify it", packed.tell(), total, "bytes"))
    except (OSError, EOFError, zlib.error) as error:
        why = "it is truncated" if isinstance(error, EOFError) else str(error).lower()
        raise RunFailed(f"`{path}` is damaged: {why}", hint="download or copy the file again") from None


def digests(path: Path, report: ReportProgress = silent, *, with_md5: bool = True) -> Digests:
    """Digests of a file; RunFailed when it cannot be read."""
    result = Digests(with_md5=with_md5)
    try:
        total = path.stat().st_size
        with path.open("rb") as file, ThreadPoolExecutor(1, "digests") as pool:
            while chunk := file.read(CHUNK):
                result.update(chunk, pool)
                report(Progress(f"verifying {path.name}", result.size, total, "bytes"))
    except OSError as error:
        raise RunFailed(f"cannot read `{path}`: {(error.strerror or 'unknown error').lower()}") from None
    return result
