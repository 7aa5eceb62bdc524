"""Send the current version to an object store, when ``TIDEMARK_PUBLISHED_URL`` names one.

Below the URL stand ``<level>/parquet/<table>/``, the files of all versions; ``<level>/versions/<version>/``, a DuckDB
file for each level and, with the restricted ones, the version's manifest, by which it is one; and ``current/``, the
DuckDB files that readers attach. ``publisher.json`` says which home publishes there.

There is no rename on such a store. What is made once is put on the condition that it is not there, and each object of
``current/`` on the condition that it is what was there before. Each of these shows a whole version; between the
first and the last of them, the levels may be of two versions. Killed anywhere, the next publication sends again what is
not there.
"""

import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
from filelock import FileLock

from flows.errors import TidemarkError
from flows.object_store import Store, StoreError
from flows.publish.manifest import Manifest, current_version, read_manifest
from flows.publish.sent import Sent, SentVersion, new_sent, read_sent, record_path, write_sent
from flows.publish.store_files import (
    CURRENT,
    PARQUET,
    VERSIONS,
    make_databases,
    manifest_key,
    sent_manifest,
    version_key,
)
from flows.publish.views import DATABASES, MANIFEST
from flows.rights import Visibility, make_private
from flows.settings import Settings
from flows.store_place import PUBLISHER, Place

POINTER = f"{CURRENT}/{MANIFEST}"


def send_current(settings: Settings) -> None:
    """Send the current version, where one is and it is not there yet; nothing where no URL is set.

    Raises :class:`TidemarkError` where it could not be sent: what readers see there stays as it was, and the next call
    goes on.
    """
    _send(settings, erasing=False)


def keep_only_newest_sent(settings: Settings) -> None:
    """Let nothing remain there but the version that readers see here, in objects and in their bytes.

    Raises :class:`TidemarkError` where that cannot be done now: the version is then not erased.
    """
    sent = read_sent(settings)
    if settings.published_url is None and sent and sent.versions:
        raise StoreError(
            f"what was sent to {sent.url} is to be erased as well, and TIDEMARK_PUBLISHED_URL is not set: set it "
            f"again; or delete all that is below it, and then {record_path(settings)}"
        )
    _send(settings, erasing=True)


def _send(settings: Settings, erasing: bool) -> None:
    url = settings.published_url
    if url is None:
        return
    make_private(record_path(settings).parent)
    with FileLock(record_path(settings).parent / ".lock"):
        sent = read_sent(settings) or new_sent(url)
        if sent.url != url and not sent.versions:  # nothing came there, as where it was misspelt
            sent = new_sent(url)
        if sent.url != url:
            raise StoreError(
                f"this home published to {sent.url} before, and TIDEMARK_PUBLISHED_URL is {url}: delete all that is "
                f"below the former, and then {record_path(settings)}"
            )
        version = current_version(settings)
        if version is None or (sent.current == version and not sent.error and not erasing):
            return
        try:
            sending = _Sending(settings, sent)
            if sent.current != version:
                sending.bring(version)
            sending.prune(erasing)
        except (TidemarkError, OSError, duckdb.Error) as error:  # also where a later publication removed the version
            said = str(error) if isinstance(error, TidemarkError) else f"{version} could not be sent to {url} ({error})"
            latest = read_sent(settings) or sent
            write_sent(settings, latest.model_copy(update={"error": said}))
            raise StoreError(said) from error
        write_sent(settings, sending.sent.model_copy(update={"error": None}))


class _Sending:
    """One call's work at a store. The caller holds the lock of the record."""

    def __init__(self, settings: Settings, sent: Sent) -> None:
        self._settings = settings
        self._store = Store(sent.url)
        self._place = Place(self._store, PUBLISHER, sent.publisher)
        self.sent = sent
        self._note(warning=self._place.refuse_versions())
        self._claim()

    def _note(self, **changed: object) -> None:
        self.sent = self.sent.model_copy(update=changed)
        write_sent(self._settings, self.sent)

    def _claim(self) -> None:
        """See that this home alone publishes there."""
        self._place.take()
        pointer = self._read_manifest(POINTER)
        if pointer is None:  # until a first version is there
            self._place.see_that_conditions_hold()
        elif self.sent.versions:
            version = pointer.version
            if version not in {one.version for one in self.sent.versions}:
                raise StoreError(
                    f"{self.sent.url}: a copy of this home published {version} there; stop one of the two, and delete "
                    f"{PUBLISHER} and {POINTER} there"
                )

    def _read_manifest(self, key: str) -> Manifest | None:
        found = self._store.read(key)
        try:
            return Manifest.model_validate_json(found[0]) if found else None
        except ValueError:
            raise StoreError(f"{self.sent.url}/{key} cannot be read; delete it there") from None

    def bring(self, version: str) -> None:
        """Have a version there, whole, and then lead readers to it."""
        manifest = read_manifest(self._settings, version)
        known = {one.version: one for one in self.sent.versions}
        # Before anything of it is there: what may have to be erased is never forgotten.
        known[version] = SentVersion(version=version, batch_high_water=manifest.batch_high_water)
        self._note(versions=tuple(known[name] for name in sorted(known)))
        self._place.look()
        for here, there in zip(manifest.tables, sent_manifest(manifest).tables, strict=True):
            for file, sent in zip(here.files, there.files, strict=True):
                path = self._settings.published / version / file.path
                self._place.put_once(sent.path, path, file.sha256, file.bytes)
        body = sent_manifest(manifest).model_dump_json(indent=1).encode()
        with tempfile.TemporaryDirectory(dir=record_path(self._settings).parent, prefix=".making.") as folder:
            made = make_databases(self._settings, manifest, self.sent.url, Path(folder))
            for level, path in made.items():
                self._place.put(version_key(level, version, DATABASES[level]), path.read_bytes())
            self._place.put(manifest_key(version), body)
            for level, path in made.items():
                self._place.put(f"{CURRENT}/{DATABASES[level]}", path.read_bytes())
        self._place.put(POINTER, body)
        left = datetime.now(UTC)
        self._note(
            versions=tuple(
                one.model_copy(update={"left_at": left}) if one.version == self.sent.current != version else one
                for one in self.sent.versions
            ),
            current=version,
            sent_at=left,
        )

    def prune(self, erasing: bool) -> None:
        """Remove versions as they are removed here, and files that no version has; ``erasing``, all but the current.

        Raises :class:`StoreError` where something that was to be removed is still there.
        """
        there = [one.key for one in self._store.list()]
        kept = {self.sent.current} if erasing else self._kept()
        now = read_manifest(self._settings, self.sent.current or "")
        manifests = {}
        for version in sorted(filter(None, kept)):
            manifest = self._read_manifest(manifest_key(version))
            # What fewer may see now is not left where more may.
            if manifest and (version == now.version or not _is_wider(manifest, now)):
                manifests[version] = manifest
        wanted = {PUBLISHER, POINTER, *(f"{CURRENT}/{name}" for name in DATABASES.values())}
        for version, manifest in manifests.items():
            wanted |= {file.path for table in manifest.tables for file in table.files} | {manifest_key(version)}
            wanted |= {version_key(level, version, name) for level, name in DATABASES.items()}
        self._remove(there, wanted, manifests)
        if erasing:
            self._place.see_that_gone("", lambda key: _is_ours(key) and key not in wanted)
        self._note(versions=tuple(one for one in self.sent.versions if one.version in manifests))

    def _remove(self, there: Iterable[str], wanted: set[str], kept: Mapping[str, Manifest]) -> None:
        gone = [key for key in there if _is_ours(key) and key not in wanted]
        # Without its manifest it is no version, should this be killed in the middle.
        first = {manifest_key(one.version) for one in self.sent.versions if one.version not in kept}
        self._place.remove([key for key in gone if key in first], [key for key in gone if key not in first])

    def _kept(self) -> set[str | None]:
        recent = datetime.now(UTC) - timedelta(hours=self._settings.keep_hours)
        newest = sorted(one.version for one in self.sent.versions)[-self._settings.keep_versions :]
        recently_left = {one.version for one in self.sent.versions if one.left_at and one.left_at >= recent}
        return {*newest, *recently_left, self.sent.current}


def _is_wider(manifest: Manifest, now: Manifest) -> bool:
    """Whether more may see a table of a version than may see it now."""
    levels = {table.name: table.visibility for table in now.tables}
    return any(not table.visibility.may_see(levels[table.name]) for table in manifest.tables if table.name in levels)


def _is_ours(key: str) -> bool:
    """Whether an object is one that is made here, and not another's below the same prefix."""
    first, _, rest = key.partition("/")
    return first == CURRENT or (first in [*Visibility] and rest.partition("/")[0] in (PARQUET, VERSIONS))
