"""Which of dbt's events are handed on."""

from io import StringIO
from typing import Any

import pytest
from dbt_common.events.base_types import EventLevel
from dbt_common.events.logger import LineFormat, LoggerConfig
from dbt_common.events.types import Note

from flows.build.dbt_events import ReadEvents


def a_log(level: EventLevel, written: StringIO) -> LoggerConfig:
    return LoggerConfig(name=f"of {level}", level=level, line_format=LineFormat.PlainText, output_stream=written)


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        pytest.param([], ["warned"], id="no log"),
        pytest.param([EventLevel.INFO], ["warned"], id="a log that has none"),
        pytest.param([EventLevel.INFO, EventLevel.DEBUG], ["looked", "warned"], id="a log that has them"),
    ],
)
def test_events_for_debugging_are_handed_on_where_a_log_has_them(logs: list[EventLevel], expected: list[str]) -> None:
    seen: list[Any] = []
    written = StringIO()
    events = ReadEvents()
    for level in logs:
        events.add_logger(a_log(level, written))
    events.add_callback(seen.append)
    events.fire_event(Note(msg="looked"), level=EventLevel.DEBUG)
    events.fire_event(Note(msg="warned"), level=EventLevel.WARN)
    assert [event.info.msg for event in seen] == expected
    lines = [line for text in ("looked", "warned") for line in written.getvalue().splitlines() if text in line]
    assert len(lines) == (3 if EventLevel.DEBUG in logs else len(logs))
