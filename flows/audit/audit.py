"""Prove that no row was lost: per delivered file, what each step between the inbox and the models holds of it.

For a file in the period, over its first batch and the retries of its rejects:

    rows in = rows landed + rows in quarantine          from the receipts, the Parquet files and the inbox
    rows landed = kept + duplicates + conflicts + superseded   from the warehouse, as far as it has been built

Each step is held against the one before it, so that a loss is reported once, where it happened. What was measured of a
batch is a :class:`Batch`, what was measured of a day of events a :class:`Day`; :func:`judge` makes findings of them and
touches nothing else.
"""

from dataclasses import dataclass, field
from datetime import date

import duckdb

from flows.audit.judge import Batch, Day, Finding, Total, judge, staging_model, total_of
from flows.audit.lake import in_period, lost_batches, measure_lake, read_receipts, stray_texts
from flows.audit.warehouse import measure_warehouse
from flows.build.warehouse import open_warehouse
from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import TidemarkError
from flows.land.layout import check_layout, read_layout
from flows.settings import Settings


@dataclass
class Audit:
    """What an audit found: totals by dataset, findings, and notes on what could not be looked at."""

    totals: list[Total] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def audit(
    settings: Settings,
    first: date | None = None,
    last: date | None = None,
    dataset: str | None = None,
    specs: dict[str, DatasetSpec] | None = None,
) -> Audit:
    """Audit the files of which a batch landed from ``first`` to ``last``, both included, in the organisation's days.

    A file is looked at whole, with all its retries. Nothing is written. Where the warehouse is missing or locked, the
    lake alone is looked at, and a note says so. Raises :class:`TidemarkError` where there is no such dataset.
    """
    specs = load_specs() if specs is None else specs
    if dataset is not None and dataset not in specs:
        raise TidemarkError(f"the contract has no dataset {dataset} (there are {', '.join(sorted(specs))})")
    if read_layout(settings.landed) is None:
        check_layout(settings, specs)  # receipts of before say otherwise where rows are
    done = Audit()
    receipts, faults = read_receipts(settings)
    every = {r.batch_id: r for r in receipts}
    chosen = in_period(receipts, first, last, dataset)
    found = [*faults, *lost_batches(settings, every), *stray_texts(settings, every)]
    done.findings += [f for f in found if dataset in (None, f.dataset)]
    batches = list(measure_lake(settings, [Batch(r) for r in chosen], every, specs, done.notes))
    days: list[Day] = []
    ends: dict[str, bool] = {}
    try:
        if not settings.warehouse.exists():
            raise TidemarkError("there is no warehouse yet; `tidemark build` makes it")
        with open_warehouse(settings, read_only=True) as db:
            accounted = {*every, *(f.batch_id for f in done.findings)}
            batches, days, invented, ends = measure_warehouse(settings, db, batches, every, accounted, specs)
            done.findings += [f for f in invented if dataset in (None, f.dataset)]
    except (TidemarkError, duckdb.Error) as error:
        done.notes.append(f"only the lake was looked at: {error}")
    done.findings += judge(batches, days, {name: staging_model(spec) for name, spec in specs.items()})
    done.totals = [total for name in specs if (total := total_of(name, batches, ends.get(name)))]
    return done


# --- judging ---------------------------------------------------------------------------------------------------------


# --- measuring the lake ----------------------------------------------------------------------------------------------


# --- measuring the warehouse -----------------------------------------------------------------------------------------
