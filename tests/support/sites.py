"""What tests of pages share."""

from datetime import UTC, datetime

from flows.site.pages import Frame


def frame() -> Frame:
    """The frame of a publication's pages."""
    return Frame(
        version="20260201T060000.000000Z",
        published_at=datetime(2026, 2, 1, 6, tzinfo=UTC),
        data_until="2026-01-31",
        boards=(),
    )
