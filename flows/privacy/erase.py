"""Erase people: from the inbox to every version published, in bytes, with a receipt that names nobody.

Who is meant is found as for a takeout (:mod:`flows.privacy.identity`), and so is what is theirs: rows that name the
person and nobody else, and what happened on devices on which nobody else was ever logged in. What says as much of
somebody else stays, and is counted.

From the moment a request is planned, rows of its people do not land any more (:mod:`flows.land.tombstones`).
"""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC
from itertools import chain
from uuid import UUID

import duckdb

from flows.build.dbt import read_project
from flows.build.lent import delete_what_was_lent
from flows.build.warehouse import in_use_by, once_free
from flows.contract.consent import CONSENTS
from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import TidemarkError, WarehouseInUseError
from flows.land.land import land
from flows.land.pseudonyms import Kind
from flows.land.receipt import Receipt
from flows.land.receipts import Receipts
from flows.land.remove import remove_unread, removing
from flows.land.tombstones import Tombstone, Tombstones
from flows.privacy.byte_scan import Patterns, files_with, forms_of
from flows.privacy.erase_lake import (
    ChangedFile,
    Progress,
    erase_inbox,
    erase_landed,
    erase_quarantine,
    erase_texts,
    is_theirs,
    keep_for_devices,
    last_moment,
    lines_in_quarantine,
)
from flows.privacy.holdings import (
    Count,
    count,
    count_warehouse,
    modelled,
    opened_publication,
    pseudonyms_of,
    searched,
    tables_in,
)
from flows.privacy.identity import Given
from flows.privacy.lake_secrets import LakeSecrets
from flows.privacy.landed import LandedRows, reading
from flows.privacy.mentions import Mention, Unsearched, mentions
from flows.privacy.renew import renew
from flows.privacy.requests import Queue, Request, State
from flows.privacy.rows import is_one_of
from flows.rights import make_private
from flows.settings import Settings

# A shorter id stands by chance in the bytes of whatever is compressed.
LEAST_SCANNED = 8
SPILLS = ".erasing"
COMMAND = "tidemark erase"


class NotErasedError(TidemarkError):
    """A request stays open, and why; the next call goes on with it."""


def erase(
    settings: Settings, specs: dict[str, DatasetSpec] | None = None, progress: Progress = lambda line: None
) -> list[Request]:
    """Go on with every open request, to its end; those that were open, the oldest first.

    What settled in the inbox lands before, since it may be of the same people. Raises :class:`NotErasedError` where a
    request cannot be ended yet, and :class:`TidemarkError` where a step cannot be done at all: each request keeps the
    state it has come to, and the next call goes on.
    """
    specs = load_specs() if specs is None else specs
    queue = Queue(settings)
    if not any(request.is_open for request in queue.all()):
        return []
    # Another one may be at work: what it ends is not open any more, and must not be begun again.
    with queue.worked_on():
        requests = [request for request in queue.all() if request.is_open]
        if requests:
            erasures = [_Erasure(settings, specs, queue, request, progress) for request in requests]
            _erase(settings, specs, erasures, progress)
        return requests


def _erase(settings: Settings, specs: dict[str, DatasetSpec], erasures: "list[_Erasure]", progress: Progress) -> None:
    land(settings, specs)
    _rewrite_lake(settings, specs, erasures)
    renewed = renew(settings, progress)
    for erasure in erasures:
        erasure.note_published(renewed.gone if renewed else ())
        _prove(settings, erasure)


# Who has the warehouse is waited for, and landing not kept waiting for as long as that.
@once_free
def _rewrite_lake(settings: Settings, specs: dict[str, DatasetSpec], erasures: "list[_Erasure]") -> None:
    with removing(settings, specs, COMMAND) as receipts:
        for erasure in erasures:
            erasure.rewrite_lake(receipts)
        remove_unread(receipts, settings, specs)
        delete_what_was_lent(settings)


@once_free
def _prove(_: Settings, erasure: "_Erasure") -> None:
    erasure.prove()


@dataclass(frozen=True)
class _Look:
    """The lake, opened to be asked."""

    database: duckdb.DuckDBPyConnection
    landed: LandedRows
    secrets: LakeSecrets


class _Erasure:
    """One request, from the state it has."""

    def __init__(
        self, settings: Settings, specs: dict[str, DatasetSpec], queue: Queue, request: Request, progress: Progress
    ) -> None:
        self._settings = settings
        self._specs = specs
        self._queue = queue
        self._request = request
        self._progress = progress
        self._secret = queue.secret(request)
        self._with_people = [spec for spec in specs.values() if searched(pseudonyms_of(spec))]

    @property
    def _why(self) -> str:
        """What the receipts of removals say."""
        return f"erasure {self._request.id}"

    def _has_reached(self, state: State) -> bool:
        return state in self._request.reached

    def _reach(self, state: State) -> None:
        """Write that the request has come to a state; to one it was in before, it comes back."""
        self._queue.reach(self._request, state, self._secret)
        self._progress(f"erase    {self._request.id}  {state}")

    @contextmanager
    def _looking(self) -> Iterator[_Look]:
        make_private(self._settings.lake / SPILLS)
        with reading(self._settings, self._settings.lake / SPILLS) as database:
            landed = LandedRows(self._settings, self._specs, database)
            yield _Look(database, landed, LakeSecrets(self._settings, landed))

    # --- in the lake ---

    def rewrite_lake(self, receipts: Receipts) -> None:
        """Find who is meant, count what is to go, and take it out of the lake. The caller holds :func:`removing`.

        As long as the request is open, all of it is done again: what has landed since may lead to more.
        """
        with self._looking() as look:
            self._resolve(look)
            if not self._has_reached(State.PLANNED):
                self._plan(look)
            self._have_no_more_land(look, receipts)
            self._rewrite(look, receipts)

    def _resolve(self, look: _Look) -> None:
        """The pseudonyms of all people of the request, and of the devices that were theirs alone."""
        shared: set[UUID] = set()
        # All at once, or each would be looked for in the whole lake. Who gives a device alone is asked for apart.
        by_device_alone: dict[bool, list[tuple[Given, ...]]] = {True: [], False: []}
        for one in self._secret.people:
            by_device_alone[all(given.kind is Kind.DEVICE for given in one)].append(one)
        for some in by_device_alone.values():
            person = look.secrets.person(chain(*some))
            for kind in Kind:
                self._secret.keys.setdefault(kind, set()).update(person.keys[kind])
            self._secret.aliases |= person.aliases
            shared |= person.shared
        # A device that none but people of this request share is nobody else's.
        used = look.landed.pairs(Kind.DEVICE, shared, Kind.USER) if shared else set()
        by_others = {device for device, user in used if user not in self._secret.keys[Kind.USER]}
        self._secret.shared |= by_others | look.secrets.aliases_of(Kind.DEVICE, by_others)
        person = self._secret.person
        counted = {kind: person.count(kind) for kind in Kind}
        self._request.found["pseudonyms"] = {**counted, "shared_devices": len(person.shared - person.aliases)}
        self._reach(State.RESOLVED)

    def _plan(self, look: _Look) -> None:
        """Count what is to go."""
        self._request.found["before"] = self._counts(look)
        named = [one for one in mentions(self._settings, self._specs, self._secret.words) if isinstance(one, Mention)]
        self._request.found["lines_naming_an_id"] = {
            store: sum(one.store == store for one in named) for store in ("inbox", "quarantine")
        }
        self._reach(State.PLANNED)

    def _have_no_more_land(self, look: _Look, receipts: Receipts) -> None:
        """Put the people on the list of those whose rows do not land."""
        person, shared = self._secret.person, self._request.with_shared
        moments = [self._secret.until or self._request.received_at.astimezone(UTC).replace(tzinfo=None)]
        for spec in self._with_people:
            is_taken = is_theirs(spec, person, shared, receipts.superseded())
            moments += filter(None, [last_moment(look.database, receipts, self._settings, spec, is_taken)])
        self._secret.until = max(moments)
        self._queue.write(self._request, self._secret)
        Tombstones(self._settings).add(
            Tombstone(kind, key.bytes, self._secret.until, is_shared=not shared and key in person.shared)
            for kind in Kind
            for key in sorted(person.keys[kind])
        )

    def _rewrite(self, look: _Look, receipts: Receipts) -> None:
        person, shared, found = self._secret.person, self._request.with_shared, self._request.found
        for spec in self._with_people:
            is_taken = is_theirs(spec, person, shared, receipts.superseded())
            self._note_files(erase_texts(look.database, receipts, self._settings, spec, is_taken))
            if spec.name == CONSENTS:
                devices = person.keys[Kind.DEVICE] if shared else person.unshared
                kept = keep_for_devices(look.database, receipts, self._settings, self._specs, is_taken, devices)
                found["consents_kept_of_devices"] = max(kept, found.get("consents_kept_of_devices", 0))
            files = len(receipts.files.in_force(spec.name))
            changed = erase_landed(receipts, self._settings, spec, is_taken, self._why, self._progress)
            self._note_files(changed)
            shares = found.setdefault("landed_files", {})
            if changed or spec.name not in shares:
                shares[spec.name] = {"rewritten": len(changed), "of": files}
        in_quarantine: list[tuple[Receipt, set[int]]] = []
        for one in lines_in_quarantine(receipts, self._settings, self._specs, self._secret.words, look.secrets, person):
            if isinstance(one, Unsearched):
                self._note_files([one])
            else:
                in_quarantine.append(one)
        # What tells which files brought their lines goes last.
        self._erase_inbox(receipts, {receipt.batch_id for receipt, _ in in_quarantine})
        self._note_files(erase_quarantine(self._settings, in_quarantine))
        self._reach(State.REWRITTEN)

    def _erase_inbox(self, receipts: Receipts, batches_in_quarantine: set[int]) -> None:
        # From the receipts: what a killed call removed is among them.
        own = [r for r in map(receipts.one, (number for number, _ in receipts.removals())) if r.file == self._why]
        batches = batches_in_quarantine | {rows.batch_id for receipt in own for rows in receipt.removed}
        found = [*mentions(self._settings, self._specs, self._secret.words)]
        named = [one for one in found if isinstance(one, Mention) and one.store == "inbox"]
        self._note_files(erase_inbox(receipts, self._settings, batches, named))

    def _note_files(self, changed: Iterable[ChangedFile | Unsearched]) -> None:
        found = self._request.found
        for one in changed:
            found.setdefault("files" if isinstance(one, ChangedFile) else "not_searched", []).append(asdict(one))
        self._queue.write(self._request, self._secret)

    # --- what is made of it ---

    def note_published(self, gone: tuple[str, ...]) -> None:
        """Note that nothing that readers can open was made with rows of the people."""
        self._request.found["versions_removed"] = [*self._request.found.get("versions_removed", []), *gone]
        self._reach(State.PUBLISHED)

    def prove(self) -> None:
        """Look everywhere once more, and let go of who was meant."""
        with self._looking() as look:
            # What is made of a shared device's rows may be of others who were logged in, which not every table says.
            after = self._counts(look, with_shared_in_built=False)
            left = [
                f"{name} ({store}): {counts['own'] + counts['by_device']:,} rows"
                for store, tables in after.items()
                for name, counts in tables.items()
                if counts["own"] or counts["by_device"]
            ]
            kept = self._keys_kept(look)
        named = [*mentions(self._settings, self._specs, self._secret.words)]
        left += sorted({f"{one.file} ({one.store}) names an id" for one in named if isinstance(one, Mention)})
        keys = {key for kind in Kind for key in self._secret.person.keys[kind]} - kept
        ids = [one.encode() for one in self._secret.words if len(one) >= LEAST_SCANNED]
        patterns = Patterns((form for key in keys for form in forms_of(key)), ids)
        left += [f"{path} holds bytes of an id" for path in files_with(patterns, self._settings.home)]
        if left:
            more = f" and {len(left) - 5:,} more" if len(left) > 5 else ""
            raise NotErasedError(
                f"the erasure {self._request.id} is not proven: {'; '.join(left[:5])}{more}; what waits to land or "
                "failed to build is to be done first; then `tidemark erase` goes on"
            )
        not_searched = [asdict(one) for one in (*named, *self._not_in_contract()) if isinstance(one, Unsearched)]
        self._request.found |= {
            "after": after,
            "not_searched": not_searched,
            "pseudonyms_kept": len(kept),
            "bytes_scanned_for": {"pseudonyms": len(keys), "ids": len(ids)},
            "ids_too_short_to_look_for": self._secret.short,
        }
        self._queue.reach(self._request, State.PROVEN, None)
        self._progress(f"erase    {self._request.id}  {State.PROVEN}")

    def _counts(self, look: _Look, with_shared_in_built: bool = True) -> dict[str, dict[str, dict[str, int]]]:
        """The rows of the people in every table in which any could be, found by the contract and dbt's manifest."""
        person, shared = self._secret.person, self._request.with_shared
        shared_in_built = shared and with_shared_in_built
        holdings = [one for one in modelled(read_project(self._settings)) if one.keys]
        of_lake = {
            spec.name: count(
                look.database, searched(pseudonyms_of(spec)), f"({look.landed.query(spec.name)})", person, shared
            )
            for spec in self._with_people
        }
        warehouse, why = count_warehouse(self._settings, holdings, person, shared_in_built)
        if why and self._settings.warehouse.exists():
            if in_use_by(self._settings):
                raise WarehouseInUseError(why)
            # Whoever had it has just done.
            warehouse, why = count_warehouse(self._settings, holdings, person, shared_in_built)
            if why:
                raise NotErasedError(f"the warehouse could not be looked through: {why}; then `tidemark erase` goes on")
        published: dict[str, Count] = {}
        with opened_publication(self._settings) as opened:
            if opened:
                there = {name for _, name in tables_in(opened[1])}
                published = {
                    one.name: count(opened[1], one.keys, f'"{one.name}"', person, shared_in_built)
                    for one in holdings
                    if one.name in there
                }
        stores = {"landed": of_lake, "warehouse": warehouse, "published": published}
        return {store: {name: asdict(one) for name, one in tables.items()} for store, tables in stores.items()}

    def _not_in_contract(self) -> Iterator[Unsearched]:
        """What landed by an earlier contract, and this one does not say whose it is."""
        why = "the contract no longer has it, so nobody knows whose its rows are; take it away by hand"
        for folder in sorted(path for path in self._settings.landed.glob("*") if path.is_dir()):
            if folder.name not in self._specs:
                yield Unsearched(f"landed/{folder.name}", why)
        with closing(Receipts(self._settings, read_only=True)) as receipts:
            for spec in self._specs.values():
                landed = {name for file in receipts.files.in_force(spec.name) for name in file.columns}
                for name in sorted(set(searched(landed)) - {*pseudonyms_of(spec)}):
                    yield Unsearched(f"landed/{spec.name}, column {name}", why)

    def _keys_kept(self, look: _Look) -> set[UUID]:
        """The pseudonyms that stay in landed rows which say as much of somebody else."""
        kept: set[UUID] = set()
        for spec in self._with_people:
            for kind in (kind for kind in Kind if kind.column in pseudonyms_of(spec)):
                keys = self._secret.person.keys[kind]
                rows = look.database.execute(
                    f"select distinct {kind.column} from ({look.landed.query(spec.name)}) "
                    f"where {is_one_of(kind.column, keys)}"
                )
                kept |= {key for (key,) in rows.fetchall()}
        return kept.union(*(look.landed.later_there(kind, self._secret.person.keys[kind]) for kind in Kind))
