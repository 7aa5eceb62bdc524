"""After rows were removed from the lake: have them gone from everything that was made of it, too.

The models are built without them, as after any new batch, and published; the warehouse is rewritten, since a
database keeps the bytes of what was deleted; then every version before goes. Killed anywhere, the next call does what
is left: as long as a version is kept of before a removal, or the warehouse's file is of before one, something is.
"""

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass

from flows.build.build import Build, build_pending
from flows.build.dbt import read_project
from flows.build.rewrite import rewrite_warehouse, rewritten_up_to
from flows.errors import TidemarkError
from flows.land.receipts import Receipts
from flows.land.send import remove_sent_rows
from flows.land.sent import holds_what_was_removed
from flows.publish.manifest import describe_causes, read_manifest
from flows.publish.publish import keep_only_newest, publish
from flows.publish.sent import read_sent
from flows.publish.views import versions
from flows.settings import Settings


class NotRenewedError(TidemarkError):
    """What readers see still shows rows that were removed from the lake; ``build`` says what failed, where it did."""

    def __init__(self, message: str, build: Build | None = None) -> None:
        super().__init__(message)
        self.build = build


@dataclass(frozen=True)
class Renewed:
    """The version that readers see now, and the versions that went."""

    version: str
    gone: tuple[str, ...]
    build: Build | None


def behind(settings: Settings) -> frozenset[str]:
    """The datasets of which rows were removed since the oldest version that is kept, here or at the object store, was
    made, or the warehouse's file was last rewritten: versions go by themselves in time, and then nothing else would
    tell that it never was."""
    if not settings.landed.exists():
        return frozenset()
    with closing(Receipts(settings, read_only=True)) as receipts:
        removals = receipts.removals()
    sent = read_sent(settings)
    at_store = [version.batch_high_water for version in sent.versions] if sent else []
    if not removals or not (settings.warehouse.exists() or versions(settings) or at_store):
        return frozenset()
    kept = versions(settings)
    shown = [*at_store, *(read_manifest(settings, version).batch_high_water for version in kept)]
    # Without its manifest: it was being removed when that was killed, or is being made, and is waited for then.
    shown += [0 for path in settings.published.glob("[0-9]*") if path.name not in kept]
    if settings.warehouse.exists():
        shown.append(rewritten_up_to(settings))
    return frozenset(dataset for batch_id, dataset in removals if batch_id > min(shown, default=0))


def is_behind(settings: Settings) -> bool:
    """Whether anything still shows rows that were removed, here or at an object store."""
    return bool(behind(settings)) or holds_what_was_removed(settings)


def renew(settings: Settings, progress: Callable[[str], None] = lambda line: None) -> Renewed | None:
    """Build and publish without what was removed, and let nothing of before remain, at object stores neither; None
    where nothing built or published is behind.

    Raises :class:`NotRenewedError` where a table could not be made without what was removed: nothing is then taken from
    readers, and the next call goes on. What landed goes from its store all the same.
    """
    try:
        done = _renew_here(settings, progress)
    except TidemarkError:
        with suppress(TidemarkError):  # the next call says so, where that is the only one left
            remove_sent_rows(settings, progress)
        raise
    remove_sent_rows(settings, progress)
    return done


def _renew_here(settings: Settings, progress: Callable[[str], None] = lambda line: None) -> Renewed | None:
    """What was built and published; None where nothing of it is behind."""
    datasets = behind(settings)
    if not datasets:
        return None
    build = build_pending(settings, progress)
    manifest = publish(settings, force=True).manifest
    models = read_project(settings).models
    showing = [
        table
        for table in manifest.stale
        if table.name not in models or models[table.name].upstream & {f"raw_{name}" for name in datasets}
    ]
    if showing:
        names = "; ".join(f"{t.name} waits for {describe_causes(t.stale_because)}" for t in showing)
        raise NotRenewedError(
            f"what is published still shows rows that were removed from the lake, and so do the versions before: "
            f"{names}; fix the cause, then run the same again",
            build,
        )
    rewrite_warehouse(settings)
    return Renewed(manifest.version, tuple(keep_only_newest(settings)), build)


def renewed_build(settings: Settings) -> Build | None:
    """As :func:`renew`, for who reports builds: what was built; also where that failed, and nothing was
    renewed."""
    try:
        done = renew(settings)
    except NotRenewedError as error:
        if error.build and error.build.failed:
            return error.build
        raise
    return done.build if done else None
