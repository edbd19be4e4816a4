"""Raw files compared with their published checksums; all mismatches are reported together."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from wukongctl.config.dataset import DatasetSpec, RawFile
from wukongctl.data.acquire import cache
from wukongctl.data.acquire.digests import digests, require_whole_gzip
from wukongctl.data.acquire.extract import DamagedArchive, extract_once
from wukongctl.data.manifest import SourceFile
from wukongctl.data.progress import ReportProgress
from wukongctl.errors import CheckFailed, Problem, RunFailed


@dataclass
class Checks:
    """The files checked so far, and their mismatches."""

    spec: DatasetSpec
    verify: bool
    report: ReportProgress
    sources: list[SourceFile] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def check(self, name: str, path: Path, published: RawFile, *, from_verified: bool = False) -> bool:
        """Compare `path` with its published size and checksums; True if it is known to be the published file.

        `from_verified`: it was unpacked from an archive whose own checksum matches.
        """
        actual = digests(path, self.report, with_md5=published.md5 is not None)
        if not actual.size:
            self._discard(path)
            raise RunFailed(f"`{path}` is empty", hint="download or copy the file again")
        differences = actual.differences(published)
        self.problems += [Problem(difference, file=name) for difference in differences]
        has_checksum = published.md5 is not None or published.sha256 is not None
        verified = not differences and (from_verified or has_checksum)
        self.sources.append(
            SourceFile(
                file=name,
                bytes=actual.size,
                md5=actual.md5,
                sha256=actual.sha256,
                expected_md5=published.md5,
                expected_sha256=published.sha256,
                expected_bytes=published.bytes,
                verified=verified,
            )
        )
        if differences and self.verify:
            self._discard(path)
        return verified

    def check_raw(self, name: str, path: Path, published: RawFile, *, from_verified: bool = False) -> None:
        """`check` a file that DuckDB will read; DuckDB ignores the CRC of gzip files."""
        if not self.check(name, path, published, from_verified=from_verified) and path.suffix == ".gz":
            try:
                require_whole_gzip(path, self.report)
            except RunFailed:
                self._discard(path)
                raise

    def require(self) -> None:
        """CheckFailed with all mismatches so far, unless checks are off."""
        if self.problems and self.verify:
            raise CheckFailed(
                f"raw files of dataset `{self.spec.name}` differ from the published ones",
                hint="add `--no-verify` to continue and record the mismatch in the manifest",
                problems=tuple(self.problems),
            )

    def unpack(
        self, name: str, path: Path, wanted: Collection[str], into: Path
    ) -> tuple[dict[str, Path], bool]:
        """Check an archive and unpack its `wanted` files, or reuse those an interrupted run unpacked.

        Also returns whether it is the published archive.
        """
        verified = self.check(name, path, self.spec.downloads.get(name, RawFile()))
        self.require()
        content = [self.sources[-1].sha256, *sorted(wanted)]
        own = into / hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]
        try:
            return extract_once(path, wanted, own, self.report), verified
        except DamagedArchive:
            self._discard(path)
            raise

    def _discard(self, path: Path) -> None:
        """Remove a bad download from the cache, so that the next run downloads it again."""
        downloaded = path.name in self.spec.downloads  # other files there were copied by hand
        if downloaded and path.is_relative_to(cache.folder(self.spec.name)):
            path.unlink(missing_ok=True)


class DryRunChecks(Checks):
    """The same checks without writing: archives are checked but not unpacked, and nothing is removed."""

    def check(self, name: str, path: Path, published: RawFile, *, from_verified: bool = False) -> bool:
        """As in `Checks`, but for files that were not unpacked."""
        return from_verified or super().check(name, path, published)

    def unpack(
        self, name: str, path: Path, wanted: Collection[str], into: Path
    ) -> tuple[dict[str, Path], bool]:
        """Check an archive, and assume that it holds the `wanted` files."""
        self.check(name, path, self.spec.downloads.get(name, RawFile()))
        self.require()
        return dict.fromkeys(wanted, into), True

    def _discard(self, path: Path) -> None:
        """Keep it: the real run removes it."""
