"""A run: land what settled, build what that and earlier runs left open, publish what changed."""

from collections.abc import Callable
from dataclasses import dataclass

from flows.build import Build, build_open
from flows.land import Landing, land
from flows.publish import Publication, publish
from flows.receipts import Receipt
from flows.settings import Settings


@dataclass(frozen=True)
class Run:
    """What a run did; ``build`` is None where nothing was open, ``publication`` where something failed."""

    landing: Landing
    build: Build | None
    publication: Publication | None


def run(
    settings: Settings,
    on_landed: Callable[[Receipt], None] = lambda receipt: None,
    on_built: Callable[[str], None] = lambda line: None,
) -> Run:
    """Land, build and publish. Raises :class:`~flows.errors.TidemarkError` where a step could not begin."""
    landing = land(settings, progress=on_landed)
    done = build_open(settings, on_built)
    if done is not None and done.failed:
        return Run(landing, done, None)
    return Run(landing, done, publish(settings))
