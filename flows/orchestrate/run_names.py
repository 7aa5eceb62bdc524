"""What the runs are called on Prefect's pages: the job, what it is about, and when, in the organisation's time zone."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger

from flows.clock import organisation_timezone

BY_HAND = "by hand"


def run_name(job: str, about: str | None, began: datetime) -> str:
    """Such as `refine · 2 files · 20:44`; the day is beside it on the pages."""
    local = began.astimezone(ZoneInfo(organisation_timezone()))
    return " · ".join(part for part in (job, about, f"{local:%H:%M}") if part)


def first_name(job: str) -> Callable[[], str]:
    """What a run is called as soon as it begins, when it is not known yet what it is about."""
    return lambda: run_name(job, None, datetime.now(UTC))


def rename(flow_run_id: str, job: str, about: str, began: datetime) -> None:
    """Say in the name of a run what it is about; a run does not fail because its server could not be reached."""
    try:
        with get_client(sync_client=True) as client:
            client.set_flow_run_name(UUID(flow_run_id), run_name(job, about, began))
    except httpx.HTTPError as error:
        get_run_logger().warning(f"what the run is about could not be reported to the server: {error}")


def days(first: date, last: date) -> str:
    """A day, or the first and the last of several."""
    return f"{first}" if first == last else f"{first} to {last}"
