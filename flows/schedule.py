"""The jobs as data: what each runs, when it is due, what it needs first, and whose it is.

This is the list a team edits. It is checked when it is imported, so a slip stops the start and not the night. What is
due at a moment is decided in :mod:`flows.orchestrate.due`.
"""

from datetime import timedelta

from flows.clock import organisation_timezone
from flows.contract.spec import load_specs
from flows.orchestrate.extract_jobs import extract_jobs
from flows.orchestrate.job import Arrival, Build, Cron, Job, Maintain, Publish, Requires, Success
from flows.orchestrate.validate import validate
from flows.settings import Settings

# Sources that will deliver no more, as "web/events": their silence is reported to nobody.
RETIRED_SOURCES: frozenset[str] = frozenset()

_ZONE = organisation_timezone()

JOBS: tuple[Job, ...] = (
    Job(
        name="refine",
        description="Builds and publishes what landed.",
        runs=(Build(), Publish()),
        owner="data-platform",
        when=Arrival(tuple(load_specs())),
        deadline=timedelta(hours=1),
    ),
    Job(
        name="nightly_test",
        description="Finds what changed without a build, such as a damaged file.",
        runs=(Maintain("test"),),
        owner="data-platform",
        when=Cron("30 3 * * *", _ZONE),
        catch_up="latest",
    ),
    Job(
        name="nightly_audit",
        description="Proves that no row was lost on the way.",
        runs=(Maintain("audit"),),
        owner="data-platform",
        when=Success(("nightly_test",)),
        catch_up="latest",
    ),
    Job(
        name="nightly_compact",
        description="Makes one file of the many in which a day's rows landed, so that builds read few.",
        runs=(Maintain("compact"),),
        owner="data-platform",
        when=Cron("0 2 * * *", _ZONE),
        catch_up="latest",
    ),
    Job(
        name="nightly_expire",
        description="Ends what the contract no longer lets be kept, and goes on with open requests to erase people.",
        runs=(Maintain("expire"), Maintain("erase")),
        owner="data-platform",
        when=Cron("30 2 * * *", _ZONE),
        catch_up="latest",
    ),
    Job(
        name="nightly_topics",
        description="Says what the texts that came are about, by the topics that were found before.",
        runs=(Maintain("topics"),),
        owner="marketplace",
        when=Cron("0 3 * * *", _ZONE),
        catch_up="latest",
    ),
    Job(
        name="daily_figures",
        description="Has the figures of the day before published; its deadline says when they are missing.",
        runs=(Build(), Publish()),
        owner="data-platform",
        when=Cron("0 6 * * *", _ZONE),
        requires=(Requires("events"),),
        deadline=timedelta(hours=2),
    ),
    Job(
        name="warning_digest",
        description="Sends each owner the warnings that stand.",
        runs=(Maintain("digest"),),
        owner="data-platform",
        when=Cron("0 8 * * *", _ZONE),
        catch_up="latest",
    ),
    *extract_jobs(Settings().extracts, _ZONE),
)
validate(JOBS)
