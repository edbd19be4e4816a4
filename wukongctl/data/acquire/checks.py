"""Raw files compared with what is published of them; those that are not it are named together."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from wukongctl.config.dataset import DatasetSpec, RawFile
from wukongctl.data.acquire import cache
from wukongctl.data.acquire.digests import digests, require_whole_gzip
from wukongctl.data.acquire.extract import DamagedArchive, extract_once
from wukongctl.data.manifest import SourceFile
from wukongctl.data.progress import Report
from wukongctl.errors import CheckFailed, Problem, RunFailed


@dataclass
class Checks:
    """Files read so far, and what was wrong with them."""

    spec: DatasetSpec
    verify: bool
    report: Report
    sources: list[SourceFile] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def read(self, name: str, path: Path, published: RawFile, *, vouched: bool = False) -> bool:
        """Compare `path` with what is published of it; whether it is known to be the published file.

        `vouched`: it came out of an archive whose own checksum holds.
        """
        actual = digests(path, self.report)
        if not actual.size:
            self._drop(path)
            raise RunFailed(f"`{path}` is empty", hint="fetch or copy the file again")
        differences = actual.differences(published)
        self.problems += [Problem(difference, file=name) for difference in differences]
        verified = not differences and (vouched or published.md5 is not None or published.sha256 is not None)
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
            self._drop(path)
        return verified

    def read_raw(self, name: str, path: Path, published: RawFile, *, vouched: bool = False) -> None:
        """`read` a file that DuckDB will: of gzip nobody else asks for the checksums inside."""
        if not self.read(name, path, published, vouched=vouched) and path.suffix == ".gz":
            try:
                require_whole_gzip(path, self.report)
            except RunFailed:
                self._drop(path)
                raise

    def require(self) -> None:
        """CheckFailed with all problems so far, unless checks are off."""
        if self.problems and self.verify:
            raise CheckFailed(
                f"raw files of dataset `{self.spec.name}` are not the published ones",
                hint="add `--no-verify` to go on and record it in the manifest",
                problems=tuple(self.problems),
            )

    def unpack(
        self, name: str, path: Path, wanted: Collection[str], into: Path
    ) -> tuple[dict[str, Path], bool]:
        """Verify an archive, then unpack the `wanted` files it holds, unless a killed run has; whether it is
        the published one.
        """
        verified = self.read(name, path, self.spec.downloads.get(name, RawFile()))
        self.require()
        content = [self.sources[-1].sha256, *sorted(wanted)]
        own = into / hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]
        try:
            return extract_once(path, wanted, own, self.report), verified
        except DamagedArchive:
            self._drop(path)
            raise

    def _drop(self, path: Path) -> None:
        """Remove a bad download from the cache, so that the next run fetches it again."""
        fetched = path.name in self.spec.downloads  # what a person put there is theirs
        if fetched and path.is_relative_to(cache.folder(self.spec.name)):
            path.unlink(missing_ok=True)


class LocalChecks(Checks):
    """The same checks where nothing may be written: archives are verified, and left as they are."""

    def read(self, name: str, path: Path, published: RawFile, *, vouched: bool = False) -> bool:
        """As in `Checks`; what an archive is thought to hold is not asked again."""
        return vouched or super().read(name, path, published)

    def unpack(
        self, name: str, path: Path, wanted: Collection[str], into: Path
    ) -> tuple[dict[str, Path], bool]:
        """Verify an archive; the `wanted` files are taken to be in it."""
        self.read(name, path, self.spec.downloads.get(name, RawFile()))
        self.require()
        return dict.fromkeys(wanted, into), True

    def _drop(self, path: Path) -> None:
        """A bad download stays: the run itself removes it."""
