"""A run: land what settled, build what is pending after that and earlier runs, publish what is good and changed."""

from collections.abc import Callable
from dataclasses import dataclass

from flows.build.build import Build, build_pending
from flows.land.land import Landing, land
from flows.land.receipt import Receipt
from flows.publish.publish import NothingGoodError, Publication, publish
from flows.settings import Settings


@dataclass(frozen=True)
class Run:
    """What a run did; ``build`` is None where nothing was pending, ``publication`` where no table was ever good.

    Where something failed, the publication says which of its tables are stale.
    """

    landing: Landing
    build: Build | None
    publication: Publication | None

    @property
    def is_good(self) -> bool:
        """Whether nothing failed, and every table that readers see is up to date."""
        return not (self.build and self.build.failed) and self.publication is not None and self.publication.is_good


def run(
    settings: Settings,
    on_landed: Callable[[Receipt], None] = lambda receipt: None,
    on_built: Callable[[str], None] = lambda line: None,
) -> Run:
    """Land, build and publish. Raises :class:`~flows.errors.TidemarkError` where a step could not begin."""
    landing = land(settings, progress=on_landed)
    done = build_pending(settings, on_built)
    try:
        return Run(landing, done, publish(settings))
    except NothingGoodError:
        if done is None or not done.failed:
            raise
        return Run(landing, done, None)  # what failed is in the build
