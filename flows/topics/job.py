"""What the job by night does: it loads scikit-learn, seconds that no other job needs, where it runs alone."""

from collections.abc import Callable

from flows.errors import TidemarkError
from flows.settings import Settings
from flows.text import counted


def label_what_came(settings: Settings, progress: Callable[[str], None]) -> None:
    """Say of the texts that came which topics they are about.

    Raises :class:`~flows.errors.TidemarkError` once all else is done, where days could not be read.
    """
    from flows.topics.label import label_all  # noqa: PLC0415

    if faults := [fault for one in label_all(settings, progress) for fault in one.faults]:
        raise TidemarkError(f"the texts of {counted(len(faults), 'day')} could not be read; {'; '.join(faults[:5])}")
