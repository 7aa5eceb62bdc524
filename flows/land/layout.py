"""How a lake is laid out: by which days of which time zone its datasets stand in folders. Kept with the lake.

The day of a row is worked out once, when it lands. So a lake that was laid out by other rules than today's is not read
and not added to: it is laid out again first, by one command.
"""

import json
import shutil
from collections.abc import Mapping, Set
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from flows.clock import organisation_timezone
from flows.contract.spec import DatasetSpec
from flows.errors import TidemarkError
from flows.files import sync_file, sync_folder
from flows.land.receipt import RECEIPT
from flows.settings import Settings

FILE = "layout.json"
FORMAT = 2
# The landed zone that another takes the place of, as long as both are there.
BEFORE = ".landed-before"
REMEDY = "run `tidemark repartition`, which lays it out again and may be stopped and begun again at any time"


class Layout(BaseModel):
    """The rules by which the files of a lake were laid out.

    ``timezone`` is that of the days. ``day_of`` names for each dataset that is laid out by day the timestamp whose day
    it is; ``texts`` names the fields of free text, ``truncated`` those of which a coarser value lands: neither stand in
    landed files. ``with_consent`` names the columns that only rows with consent have. ``number`` grows each time that
    the lake is laid out again: what was known of its files is then of no use.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    number: int = 1
    timezone: str
    day_of: dict[str, str]
    texts: dict[str, tuple[str, ...]] = {}
    truncated: dict[str, tuple[str, ...]] = {}
    with_consent: dict[str, tuple[str, ...]] = {}

    def not_in_clear(self, dataset: str) -> frozenset[str]:
        """The fields of a dataset that stand in no landed file as they were sent."""
        return frozenset((*self.texts.get(dataset, ()), *self.truncated.get(dataset, ())))


def wanted_layout(specs: dict[str, DatasetSpec], noted: Layout | None = None) -> Layout:
    """The layout that the contract and the project ask for, with what is noted of datasets they no longer have."""
    day_of = {name: field for name, field in noted.day_of.items() if name not in specs} if noted else {}
    day_of |= {name: spec.day_of for name, spec in specs.items() if spec.day_of}
    return Layout(
        number=noted.number if noted else 1,
        timezone=organisation_timezone(),
        day_of=dict(sorted(day_of.items())),
        texts=_named({name: spec.in_no_landed_file for name, spec in specs.items()}),
        truncated=_named({name: {field.name for field in spec.truncated} for name, spec in specs.items()}),
        with_consent=_named({name: spec.with_consent_alone.keys() for name, spec in specs.items()}),
    )


def _named(fields: Mapping[str, Set[str]]) -> dict[str, tuple[str, ...]]:
    """Fields by dataset, in order; datasets without any left out."""
    return {name: tuple(sorted(fields[name])) for name in sorted(fields) if fields[name]}


def read_layout(landed: Path) -> Layout | None:
    """The layout of a landed zone; None where none is noted. Raises :class:`TidemarkError` where it cannot be read."""
    path = landed / FILE
    try:
        layout = Layout.model_validate_json(path.read_text(encoding="utf-8"))
        if layout.format > FORMAT:
            raise ValueError(f"format {layout.format}")
        return layout
    except FileNotFoundError:
        return None
    except ValueError as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise TidemarkError(
            f"{path} is damaged or was written by a later Tidemark ({why}): it says how the lake "
            "is laid out; use that Tidemark, or restore the file from a backup of the lake"
        ) from error


def check_layout(settings: Settings, specs: dict[str, DatasetSpec]) -> Layout:
    """The lake's layout, where it is the one wanted now.

    Raises :class:`TidemarkError` where files landed by another.
    """
    refuse_half_swapped(settings)
    layout = read_layout(settings.landed)
    wanted = wanted_layout(specs, layout)
    if layout is None:
        if has_batches(settings.landed):
            raise TidemarkError(
                f"the lake {settings.lake} was landed by an earlier Tidemark, which did not lay it out by day; {REMEDY}"
            )
        return wanted
    if layout.timezone != wanted.timezone:
        raise TidemarkError(
            f"the lake {settings.lake} is laid out by the days of {layout.timezone}, and the variable timezone in "
            f"dbt_project.yml says {wanted.timezone}: put it back, or {REMEDY}"
        )
    if name := _differing(settings, layout, wanted):
        is_of, want = layout.day_of.get(name), wanted.day_of.get(name)
        raise TidemarkError(
            f"the lake {settings.lake} holds {name} {f'by the day of {is_of}' if is_of else 'not by day'}, and the "
            f"contract wants them {f'by the day of {want}' if want else 'not by day'}; {REMEDY}"
        )
    if found := _in_clear(settings, layout, wanted):
        name, field = found
        how = "truncated" if field in wanted.truncated.get(name, ()) else "redacted and encrypted"
        raise TidemarkError(
            f"the lake {settings.lake} holds {name}.{field} in clear, as an earlier Tidemark landed it, and the "
            f"contract wants it {how}; {REMEDY}"
        )
    if found := _without_regard_to_consent(settings, layout, wanted):
        name, column = found
        raise TidemarkError(
            f"the lake {settings.lake} holds {name}.{column} of rows without consent too, as an earlier Tidemark "
            f"landed it, and the contract wants it with consent alone; {REMEDY}"
        )
    return wanted


def settle_layout(settings: Settings, specs: dict[str, DatasetSpec]) -> Layout:
    """As :func:`check_layout`, and note the layout with the lake, before the first batch lands by it."""
    layout = check_layout(settings, specs)
    if layout != read_layout(settings.landed):
        write_layout(settings.landed, layout)
    return layout


def refuse_half_swapped(settings: Settings) -> None:
    """Raise :class:`TidemarkError` where a repartition was killed as the new landed zone took the place of the old."""
    if (settings.lake / BEFORE).exists() and not has_batches(settings.landed):
        raise TidemarkError(
            f"the lake {settings.lake} was being laid out again when that was killed, at its last step; run "
            "`tidemark repartition`, which ends it"
        )


def remove_zone_before(settings: Settings) -> None:
    """Remove the landed zone that another took the place of, where a repartition was killed before it had. The caller
    lands: nobody else lays out."""
    if (settings.lake / BEFORE).exists() and has_batches(settings.landed):
        shutil.rmtree(settings.lake / BEFORE)


def layout_after(settings: Settings, specs: dict[str, DatasetSpec]) -> Layout | None:
    """The layout that the lake is to get; None where it has the one wanted."""
    layout = read_layout(settings.landed)
    wanted = wanted_layout(specs, layout)
    if layout is None:
        return wanted if has_batches(settings.landed) else None
    is_by_day_wanted = layout.timezone == wanted.timezone and not _differing(settings, layout, wanted)
    holds_too_much = _in_clear(settings, layout, wanted) or _without_regard_to_consent(settings, layout, wanted)
    if is_by_day_wanted and not holds_too_much:
        return None
    return wanted.model_copy(update={"number": layout.number + 1})


def _differing(settings: Settings, layout: Layout, wanted: Layout) -> str | None:
    """The first dataset of which something landed by another day than is wanted."""
    names = sorted({*layout.day_of, *wanted.day_of})
    differing = (name for name in names if layout.day_of.get(name) != wanted.day_of.get(name))
    return next((name for name in differing if has_batches(settings.landed, name)), None)


def _in_clear(settings: Settings, layout: Layout, wanted: Layout) -> tuple[str, str] | None:
    """The first field, with its dataset, that stands in landed files though it is to be in none: it landed before."""
    names = sorted({*wanted.texts, *wanted.truncated})
    newer = {name: wanted.not_in_clear(name) - layout.not_in_clear(name) for name in names}
    return _first_landed(settings, newer)


def _without_regard_to_consent(settings: Settings, layout: Layout, wanted: Layout) -> tuple[str, str] | None:
    """The first column, with its dataset, that landed of rows without consent too, and is to be there with it alone."""
    wants, has = wanted.with_consent, layout.with_consent
    return _first_landed(settings, {name: {*wants[name]} - {*has.get(name, ())} for name in sorted(wants)})


def _first_landed(settings: Settings, columns: Mapping[str, Set[str]]) -> tuple[str, str] | None:
    """The first of these columns, with its dataset, that a landed batch has."""
    for name, of in columns.items():
        for path in settings.landed.glob(f"{name}/batch-*/{RECEIPT}") if of else ():
            landed = json.loads(path.read_text(encoding="utf-8")).get("columns") or ()
            if found := sorted(of & {*landed}):
                return name, found[0]
    return None


def write_layout(landed: Path, layout: Layout) -> None:
    """Note a layout with a landed zone, whole or not at all."""
    partial = landed / f".{FILE}.partial"
    partial.write_text(layout.model_dump_json(indent=2) + "\n", encoding="utf-8")
    sync_file(partial)
    partial.replace(landed / FILE)
    sync_folder(landed)


def has_batches(landed: Path, dataset: str = "*") -> bool:
    """Whether anything landed, of any dataset or one."""
    return next(landed.glob(f"{dataset}/batch-*"), None) is not None
