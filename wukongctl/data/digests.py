"""Checksums of raw files, and how they differ from the published ones."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from wukongctl.config.dataset import RawFile
from wukongctl.data.progress import Progress, Report, silent
from wukongctl.errors import RunFailed

CHUNK = 1 << 20


@dataclass
class Digests:
    """MD5 and SHA-256 of what has been read so far, and its size."""

    size: int = 0
    _md5: "hashlib._Hash" = field(default_factory=lambda: hashlib.md5(usedforsecurity=False))
    _sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def update(self, chunk: bytes) -> None:
        """Add the next bytes."""
        self.size += len(chunk)
        self._md5.update(chunk)
        self._sha256.update(chunk)

    @property
    def md5(self) -> str:
        """Hexadecimal MD5."""
        return self._md5.hexdigest()

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256."""
        return self._sha256.hexdigest()

    def differences(self, expected: RawFile) -> list[str]:
        """What does not agree with the published size and checksums, both values shown."""
        pairs = [
            ("bytes", expected.bytes, self.size),
            ("md5", expected.md5, self.md5),
            ("sha256", expected.sha256, self.sha256),
        ]
        return [f"{what} is {got}, expected {want}" for what, want, got in pairs if want not in (None, got)]


def digests(path: Path, report: Report = silent) -> Digests:
    """Digests of a file on disk; raises RunFailed when it cannot be read."""
    result = Digests()
    try:
        total = path.stat().st_size
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                result.update(chunk)
                report(Progress(f"verifying {path.name}", result.size, total, "bytes"))
    except OSError as error:
        raise RunFailed(f"cannot read `{path}`: {(error.strerror or 'unknown error').lower()}") from None
    return result
