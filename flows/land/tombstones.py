"""Who was erased: rows of them that are delivered again do not land, however late.

What is kept of a person is no name and no pseudonym: it is a keyed hash of each pseudonym, under a key of its own, so
whoever has the list learns nothing from it, and whoever has the lake finds nobody in it. With each stands the moment up
to which what happened is gone. What happens later lands as anybody's: who comes back is another matter.

The list is ``lake/tombstones.jsonl``, for its owner alone. Its key is worked out from the master key.

While the key of pseudonyms is changed, rows come with two: whoever is on the list by the one is put on it by the other.

A device that others use too is on it as such: what a row that does not land says of consent holds for the device.
"""

import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from flows.contract.consent import CONSENTS
from flows.contract.spec import DatasetSpec
from flows.errors import TidemarkError
from flows.files import replace_private
from flows.keys import derived, key_check, load_key
from flows.land.linking import next_column
from flows.land.pseudonyms import PERSONAL, Kind
from flows.settings import Settings


@dataclass(frozen=True)
class Tombstone:
    """A pseudonym of a person who was erased, and the moment (UTC, no zone) up to which what happened is gone; or,
    where it ``is_shared``, that of a device which others use too, and which stays."""

    kind: Kind
    pseudonym: bytes
    until: datetime
    is_shared: bool = False


class Tombstones:
    """The list of a lake, as it was when this was made."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._until: dict[str, datetime] = {}
        self._key = b""
        path = list_of(settings)
        if path.exists():
            self._key, check = _key(settings, must_exist=True)
            self._until = _read(path, check, settings)

    def __len__(self) -> int:
        return len(self._until)

    def add(self, more: Iterable[Tombstone]) -> None:
        """Put more on the list, whole and on the disk before this returns. One caller at a time: who may land."""
        more = [*more]
        if not more:
            return
        self._key, check = _key(self._settings, must_exist=list_of(self._settings).exists())
        for one in more:
            digest = self._digest(one.kind, one.pseudonym, one.is_shared)
            self._until[digest] = max(one.until, self._until.get(digest, one.until))
        lines = [json.dumps({"master_key_check": check})]
        lines += [json.dumps({"of": of, "until": until.isoformat()}) for of, until in sorted(self._until.items())]
        replace_private(list_of(self._settings), "".join(f"{line}\n" for line in lines).encode())

    def without_erased(self, spec: DatasetSpec, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
        """The rows that may land, and of the others those on a device that others use too. A row that names somebody
        else, too, is theirs as well, and stays."""
        nothing = rows.slice(0, 0)
        if not self._until or not rows.num_rows:
            return rows, nothing
        self.add([*self._carried_over(rows)])
        there = [kind for kind in Kind if kind.column in rows.schema.names]
        found = {kind: self._found(kind, rows[kind.column], _moments(spec, rows)) for kind in there}
        if not any(erased is not None for erased in found.values()):
            return rows, nothing
        gone = _gone(rows, found)
        kept = rows.filter(pc.invert(gone))
        shared = self._shared(rows[Kind.DEVICE.column]) if Kind.DEVICE in there else None
        return kept, nothing if shared is None else rows.filter(pc.and_(gone, shared))

    def _shared(self, devices: pa.ChunkedArray) -> pa.Array | None:
        """Which rows are of a device that was shared when somebody was erased; None where none is."""
        keys = [key for key in pc.unique(devices).to_pylist() if key]
        shared = [key for key in keys if self._digest(Kind.DEVICE, key, is_shared=True) in self._until]
        return pc.is_in(devices, pa.array(shared, devices.type)) if shared else None

    def _carried_over(self, rows: pa.Table) -> Iterator[Tombstone]:
        """Those on the list of whom there are rows, by the pseudonyms that a later key made."""
        for kind in Kind:
            names = [kind.column, next_column(kind.column)]
            if not {*names} <= {*rows.schema.names}:
                continue
            pairs = rows.select(names).group_by(names).aggregate([])
            found = zip(*(pairs[name].to_pylist() for name in names), strict=True)
            for (now, later), is_shared in product(found, (False, True)):
                until = self._until.get(self._digest(kind, now, is_shared)) if now else None
                if until is not None and self._until.get(self._digest(kind, later, is_shared), datetime.min) < until:
                    yield Tombstone(kind, later, until, is_shared)

    def _found(self, kind: Kind, keys: pa.ChunkedArray, moments: pa.ChunkedArray | None) -> pa.Array | None:
        """Which rows are of a pseudonym on the list and happened up to its moment; None where none is."""
        until = {key: self._until.get(self._digest(kind, key)) for key in pc.unique(keys).to_pylist() if key}
        erased = {key: moment for key, moment in until.items() if moment is not None}
        if not erased:
            return None
        at = pc.index_in(keys, pa.array([*erased], keys.type))
        limits = pa.array([*erased.values()], pa.timestamp("us")).take(at)
        # What does not say when it happened is not known to be later.
        is_before = True if moments is None else pc.fill_null(pc.less_equal(moments, limits), True)
        return pc.and_(pc.is_valid(limits), is_before)

    def _digest(self, kind: Kind, pseudonym: bytes, is_shared: bool = False) -> str:
        said = f"shared {kind}" if is_shared else kind
        return hmac.digest(self._key, said.encode() + b"\0" + pseudonym, "sha256").hex()


def _gone(rows: pa.Table, found: Mapping[Kind, pa.Array | None]) -> pa.Array:
    """Which rows may not land; ``found`` says for each kind of pseudonym in which rows it is on the list."""
    nobody = pa.repeat(pa.scalar(False), rows.num_rows)
    names_erased = names_others = nobody
    for kind in (kind for kind in PERSONAL if kind in found):
        erased = nobody if found[kind] is None else found[kind]
        names_erased = pc.or_(names_erased, erased)
        named = pc.is_valid(rows[kind.column])
        names_others = pc.or_(names_others, pc.and_not(named, erased))
    by_device = found.get(Kind.DEVICE)
    if by_device is not None:
        names_erased = pc.or_(names_erased, by_device)
    return pc.and_not(names_erased, names_others)


def list_of(settings: Settings) -> Path:
    """The file of the list."""
    return settings.lake / "tombstones.jsonl"


def moment_column(spec: DatasetSpec) -> str | None:
    """The column that says when what a row tells of happened; None where it does not say."""
    if spec.name == CONSENTS:
        return "valid_from"  # what an erased person says later holds for what is known of them later
    return spec.day_of or (spec.history.updated_at if spec.history and spec.history.updated_at else None)


def _moments(spec: DatasetSpec, rows: pa.Table) -> pa.ChunkedArray | None:
    column = moment_column(spec)
    return rows[column] if column else None


def _key(settings: Settings, must_exist: bool) -> tuple[bytes, str]:
    master = load_key(settings, "master", must_exist=must_exist)
    return derived(master, "tombstones"), key_check(master)


def _read(path: Path, check: str, settings: Settings) -> dict[str, datetime]:
    try:
        head, *lines = path.read_text(encoding="utf-8").splitlines()
        made_with = json.loads(head)["master_key_check"]
        said = map(json.loads, lines)
        found = {one["of"]: datetime.fromisoformat(one["until"]) for one in said}
    except (ValueError, KeyError, TypeError) as error:
        raise TidemarkError(
            f"{path} is damaged: it says who was erased, and without it their rows would land again; restore it from a "
            "backup of the lake"
        ) from error
    if made_with != check:
        raise TidemarkError(
            f"the master key is not the one that made {path}, so rows of people who were erased would land again; "
            f"restore the earlier {settings.key_file('master')} or TIDEMARK_MASTER_KEY"
        )
    return found
