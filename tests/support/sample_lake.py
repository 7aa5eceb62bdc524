"""A small sample lake, and the whole way from its inbox to published marts."""

from pathlib import Path

from flows.build.build import Build
from flows.land.land import Landing
from flows.publish.publish import Publication
from flows.run import run
from flows.settings import Settings

EVENTS, DAYS, SEED = 30_000, 4, 7


def settings_of(home: Path) -> Settings:
    return Settings(home=home, settle_seconds=0)


def run_all(settings: Settings) -> tuple[Landing, Build, Publication]:
    """What `tidemark run` does; there must be something new, and nothing may fail."""
    done = run(settings)
    assert done.build is not None
    assert not done.build.failed, [(n.name, n.message) for n in done.build.failed]
    assert done.publication is not None and done.publication.manifest.is_fresh
    return done.landing, done.build, done.publication
