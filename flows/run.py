"""A run: land what settled, build what is pending after that and earlier runs, publish what is good and changed."""

from collections.abc import Callable
from dataclasses import dataclass

from flows.build.build import Build, build_pending
from flows.land.land import Landing, land
from flows.land.receipt import Receipt
from flows.land.send import send_landed
from flows.publish.publish import NothingGoodError, Publication, publish
from flows.settings import Settings


@dataclass(frozen=True)
class Run:
    """What a run did; ``build`` is None where nothing was pending, ``publication`` where no table was ever good.

    Where something failed, the publication says which of its tables are stale. ``unsent`` is why what landed could not
    be sent to the object store, where one is set and that failed.
    """

    landing: Landing
    build: Build | None
    publication: Publication | None
    unsent: str | None = None

    @property
    def is_good(self) -> bool:
        """Whether nothing failed, and every table that readers see is up to date."""
        is_built = not (self.build and self.build.failed)
        return is_built and self.unsent is None and self.publication is not None and self.publication.is_good


def run(
    settings: Settings,
    on_landed: Callable[[Receipt], None] = lambda receipt: None,
    on_built: Callable[[str], None] = lambda line: None,
) -> Run:
    """Land, build and publish, and send what landed to the object store, where one is set.

    Raises :class:`~flows.errors.TidemarkError` where a step could not begin.
    """
    landing = land(settings, progress=on_landed)
    send_landed(settings, on_built)
    done = build_pending(settings, on_built)
    publication: Publication | None = None
    try:
        publication = publish(settings)
    except NothingGoodError:
        if done is None or not done.failed:
            raise  # else what failed is in the build
    # Once more, since a build compacts days of many files.
    return Run(landing, done, publication, send_landed(settings, on_built))
