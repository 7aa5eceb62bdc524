"""Send what landed to an object store, when ``TIDEMARK_LANDED_URL`` names one.

The order is that of the landed zone itself. First come the files of rows, and why others were rejected. Then come the
receipts, in the order of their batches: of one that is there every file is there, or the one that took its place. Then
the list ``landed/current.json``, on the condition that it is what it was: by it readers see another state from one
moment on. Last, what is no more here goes there, receipts before files. Of a layout of before nothing is left.

Killed anywhere, the next call sends what is not there and removes what is not to be. It never keeps anybody from
landing: it holds no lock of the lake, and where files were replaced while it was at work it begins again with what is
there by then.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import pyarrow as pa
from filelock import FileLock, Timeout

from flows.errors import TidemarkError
from flows.files import sha256
from flows.land.layout import read_layout
from flows.land.rejects_at_store import without_words
from flows.land.sent import (
    SentZone,
    holds_what_was_removed,
    new_sent_zone,
    read_sent_zone,
    write_sent_zone,
    zone_record_path,
)
from flows.land.told import ZONE as TOLD
from flows.land.zone_list import (
    CLAIM,
    LIST,
    ZONE,
    Wanted,
    is_ours,
    is_receipt,
    path_of,
    read_zone_list,
    wanted_at_store,
)
from flows.object_store import Store, StoreError
from flows.rights import make_private
from flows.settings import Settings
from flows.store_place import Place, sha256_of

# Begun again so often, where files are replaced while they are sent.
MOST_PASSES = 5
LOCK = ".landed.lock"

Progress = Callable[[str], None]


def send_landed(settings: Settings, progress: Progress = lambda line: None) -> str | None:
    """Send what landed and is not there yet; nothing where no URL is set. Why it could not be, None where it was.

    Where another process is sending it is left to that, which goes on until nothing is new.
    """
    try:
        _send(settings, progress, removing=False)
    except (TidemarkError, OSError) as error:
        return str(error)
    return None


def remove_sent_rows(settings: Settings, progress: Progress = lambda line: None) -> None:
    """Have the rows that removals took out of the lake gone from the store as well, in their bytes.

    Raises :class:`TidemarkError` where that cannot be done now: they are then not erased.
    """
    if not holds_what_was_removed(settings):
        return
    sent = read_sent_zone(settings)
    if settings.landed_url is None and sent:
        raise StoreError(
            f"what was sent to {sent.url} is to be erased as well, and TIDEMARK_LANDED_URL is not set: set it again; "
            f"or delete all that is below {sent.url}/{ZONE}/, and then {zone_record_path(settings)}"
        )
    _send(settings, progress, removing=True)
    if holds_what_was_removed(settings):  # more was removed meanwhile
        raise StoreError(f"rows that were removed may be at {settings.landed_url} still; run the same again")


def _send(settings: Settings, progress: Progress, removing: bool) -> None:
    url = settings.landed_url
    if url is None:
        return
    folder = zone_record_path(settings).parent
    make_private(folder)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=-1 if removing else 0)
    except Timeout:
        return
    try:
        sent = read_sent_zone(settings) or new_sent_zone(url)
        if sent.url != url and not sent.may_hold:  # nothing came there, as where it was misspelt
            sent = new_sent_zone(url)
        if sent.url != url:
            raise StoreError(
                f"what landed was sent to {sent.url} before, and TIDEMARK_LANDED_URL is {url}: delete all that is "
                f"below {sent.url}/{ZONE}/, and then {zone_record_path(settings)}"
            )
        try:
            _send_until_nothing_is_new(settings, sent, progress, removing)
        except (TidemarkError, OSError, pa.ArrowException) as error:
            said = (
                str(error) if isinstance(error, TidemarkError) else f"what landed could not be sent to {url} ({error})"
            )
            latest = read_sent_zone(settings) or sent
            failing_since = latest.failing_since or datetime.now(UTC)
            write_sent_zone(settings, latest.model_copy(update={"error": said, "failing_since": failing_since}))
            raise StoreError(said) from error
    finally:
        lock.release()


def _send_until_nothing_is_new(settings: Settings, sent: SentZone, progress: Progress, removing: bool) -> None:
    sending: _Sending | None = None
    for last in (number == MOST_PASSES for number in range(1, MOST_PASSES + 1)):
        try:
            wanted = wanted_at_store(settings)
            _refuse_less(settings, sending.sent if sending else sent, wanted)
            if wanted is None or (_is_landing(settings) and not removing):
                return
            known = sending.sent if sending else sent
            if wanted.digest == known.wanted and not known.error and (sending or not removing):
                return
            sending = sending or _Sending(settings, sent, progress)
            sending.bring(wanted)
        except FileNotFoundError:  # a compaction or a removal took its place, which the next look finds
            if last:
                raise


def _is_landing(settings: Settings) -> bool:
    """Whether rows have landed, and what they tell of consent has not yet: a copy of that moment would not have it.
    Whoever lands sends when that is done."""
    return next((settings.lake / TOLD).glob("*/*/*.parquet"), None) is not None


def _refuse_less(settings: Settings, sent: SentZone, wanted: Wanted | None) -> None:
    """Raise :class:`TidemarkError` where less landed here than was sent: nothing there is removed for that."""
    here = wanted.zone.last_batch_id if wanted else 0
    if here < sent.last_batch_id:
        raise TidemarkError(
            f"{sent.url} has what landed up to batch {sent.last_batch_id}, and the lake here ends with batch {here}: "
            "an older copy, or another lake; `tidemark restore` into an empty home brings back what is there; to send "
            f"this one, delete all that is below {sent.url}/{ZONE}/, and then {zone_record_path(settings)}"
        )


class _Sending:
    """One call's work at a store. The caller holds the lock of the record."""

    def __init__(self, settings: Settings, sent: SentZone, progress: Progress) -> None:
        self._settings = settings
        self._progress = progress
        self._store = Store(sent.url)
        self._place = Place(self._store, CLAIM, sent.publisher)
        self.sent = sent
        self._note(warning=self._place.refuse_versions())
        self._claim()

    def _note(self, **changed: object) -> None:
        self.sent = self.sent.model_copy(update=changed)
        write_sent_zone(self._settings, self.sent)

    def _claim(self) -> None:
        """See that this home alone publishes there."""
        self._place.take()
        found = self._store.read(LIST)
        if found is None:  # until a first list is there
            self._place.see_that_conditions_hold()
            self._note(lists=())
            return
        digest = sha256_of(found[0])
        if digest not in self.sent.lists:
            there = read_zone_list(found[0], f"{self.sent.url}/{LIST}")
            raise StoreError(
                f"{self.sent.url}: a copy of this home published there, up to batch {there.last_batch_id}; stop one of "
                f"the two, and delete {CLAIM} and {LIST} there"
            )
        self._note(lists=(digest,))

    def bring(self, wanted: Wanted) -> None:
        """Have all of it there, lead readers to it, and then have nothing else there.

        Raises :class:`FileNotFoundError` where a file was replaced here meanwhile.
        """
        # Before anything of it is there: what may have to be erased is never forgotten.
        self._note(may_hold=True)
        self._place.look(f"{ZONE}/")
        self._bring_files(wanted)
        self._refuse_another_layout(wanted)
        for key, path in wanted.receipts.items():
            if key not in self._place.there:
                body = path.read_bytes()
                self._place.put_once(key, body, sha256_of(body), len(body))
        self._lead_to(wanted)
        self._remove_all_but(wanted.keys)
        self._note(
            last_batch_id=wanted.zone.last_batch_id,
            removed_up_to=wanted.zone.last_batch_id,
            wanted=wanted.digest,
            sent_at=datetime.now(UTC),
            error=None,
            failing_since=None,
        )

    def _bring_files(self, wanted: Wanted) -> None:
        for file in wanted.zone.files:
            path = self._settings.lake / path_of(wanted.zone.folder, file.path)
            if file.path in self._place.there:
                self._place.put_once(file.path, path, None, file.bytes)
                continue
            self._place.put_once(file.path, path, sha256(path), file.bytes)
            self._progress(f"send     {file.path}")
        for key, path in wanted.rejects.items():
            if key not in self._place.there and path.exists():
                body = without_words(path)
                self._place.put_once(key, body, sha256_of(body), len(body))

    def _refuse_another_layout(self, wanted: Wanted) -> None:
        """Raise :class:`FileNotFoundError` where the lake was laid out again meanwhile: other files have these names
        now, which no receipt of before may lead to."""
        layout = read_layout(self._settings.landed)
        if layout is None or layout.number != wanted.zone.layout.number:
            raise FileNotFoundError(f"the lake {self._settings.lake} was laid out again")

    def _lead_to(self, wanted: Wanted) -> None:
        """Put the list in the place of the one before, in one step."""
        if LIST in self._place.there and self.sent.lists == (wanted.digest,):
            return
        self._note(lists=(*self.sent.lists, wanted.digest))
        self._place.put(LIST, wanted.body)
        self._note(lists=(wanted.digest,))

    def _remove_all_but(self, keys: frozenset[str]) -> None:
        gone = [key for key in self._place.there if is_ours(key) and key not in keys]
        if gone:
            self._place.remove([key for key in gone if is_receipt(key)], [key for key in gone if not is_receipt(key)])
            self._place.see_that_gone(f"{ZONE}/", lambda key: is_ours(key) and key not in keys)
