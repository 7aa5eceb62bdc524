"""The organisation's days, and moments and lengths of time as people read them."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml

from flows.contract.spec import PROJECT
from flows.errors import TidemarkError


@cache
def organisation_timezone(project: Path = PROJECT) -> str:
    """The time zone of the organisation's days: the variable ``timezone`` of ``dbt_project.yml``.

    Raises :class:`TidemarkError` where it is not written there.
    """
    read = yaml.safe_load((project / "dbt_project.yml").read_text())
    name = (read.get("vars") or {}).get("timezone")
    if not isinstance(name, str):
        raise TidemarkError(
            f"{project / 'dbt_project.yml'}: no variable timezone; write one, such as Europe/Stockholm, under vars"
        )
    return name


def local_day(moment: datetime) -> date:
    """The organisation's day at a moment."""
    return moment.astimezone(ZoneInfo(organisation_timezone())).date()


def start_of_day(day: date) -> datetime:
    """The moment at which a day of the organisation begins."""
    return datetime.combine(day, time.min, ZoneInfo(organisation_timezone()))


def duration(span: timedelta) -> str:
    """A length of time by its two largest units; a negative one, of a clock set back, is none."""
    minutes = max(0, int(span.total_seconds() // 60))
    days, hours = minutes // 1440, minutes % 1440 // 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min" if minutes else "less than a minute"


def minute(moment: datetime) -> str:
    """A moment to the minute, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def ago(moment: datetime, now: datetime) -> str:
    """How long ago a moment is."""
    return duration(now - moment)
