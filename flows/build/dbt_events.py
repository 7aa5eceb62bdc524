"""dbt's events without those that nobody reads.

dbt makes about thirty events for a node, most for debugging, and turns each into a message of Protocol Buffers before
it asks whether anything writes it down: a tenth of a small build's processor time.
"""

from typing import Any

from dbt_common.events.base_types import BaseEvent, EventLevel
from dbt_common.events.event_manager import EventManager
from dbt_common.events.event_manager_client import ctx_set_event_manager


class ReadEvents(EventManager):
    """Leaves out events for debugging, unless a log has them: ``dbt build --log-level-file debug`` writes one.

    What dbt calls back is of events that say more than that.
    """

    def fire_event(
        self,
        e: BaseEvent,
        level: EventLevel | None = None,
        node: Any = None,
        force_warn_or_error_handling: bool = False,
    ) -> None:
        """Hand an event on to logs and callbacks."""
        if (level or e.level_tag()) != EventLevel.DEBUG or any(
            logger.level in (EventLevel.DEBUG, EventLevel.TEST) for logger in self.loggers
        ):
            super().fire_event(e, level, node, force_warn_or_error_handling)


def leave_out_unread_events() -> None:
    """Have dbt in this process leave them out."""
    ctx_set_event_manager(ReadEvents())
