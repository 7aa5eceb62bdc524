"""The ``tidemark`` command: sample, land, build, publish, run, deploy, serve, status ..."""

import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime

import click
from click.core import ParameterSource
from pydantic import TypeAdapter

from flows.audit.audit import audit
from flows.build.backfill import Request, backfill
from flows.build.build import Build, build, build_pending, run_every_test
from flows.cli.ask import mcp_command, query_command, shell_command
from flows.cli.by_hand import count_by_hand
from flows.cli.command import Command
from flows.cli.develop import check_command, dev_command, diff_command
from flows.cli.erase import erase_command
from flows.cli.extract import extract_command
from flows.cli.keys import keys_command
from flows.cli.lake_files import compact_command, repartition_command, restore_command, send_or_say_why
from flows.cli.metric import metric_command
from flows.cli.privacy import expire_command, export_person_command
from flows.cli.quarantine import quarantine_command
from flows.cli.render import (
    out,
    print_audit,
    print_build,
    print_landed,
    print_landing,
    print_line,
    print_publication,
    print_retry,
    print_sent,
    print_status,
    print_totals,
    rule,
    safe,
)
from flows.cli.service import serve_command, stop_command
from flows.cli.site import show_site, site_command
from flows.cli.topics import topics_command
from flows.clock import minute
from flows.land.land import land
from flows.land.retry import retry_quarantine as retry
from flows.publish.publish import publish, rollback
from flows.run import run
from flows.settings import Settings
from flows.status.describe_lake import describe_lake
from flows.status.lake import LakeStatus, read_status, read_totals
from flows.text import counted

DAY = click.DateTime(["%Y-%m-%d"])


@click.group(cls=Command)
@click.version_option(package_name="tidemark")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Tidemark: files land, models build, marts are published.

    All data lives below TIDEMARK_HOME (default ./data). Exit code 0: done, though files may have been refused and rows
    quarantined (`status` exits 1 while a file is refused or no row of it fits); 1: it could not be done, and the output
    says what is wrong, where, and what to do; 2: the command was not understood.
    """
    ctx.obj = Settings()


@main.command()
@click.option(
    "--events", default=1_000_000, show_default=True, help="Distinct events.", metavar="N", type=click.IntRange(1)
)
@click.option(
    "--days", default=30, show_default=True, help="Days they spread over.", metavar="N", type=click.IntRange(1)
)
@click.option("--seed", default=1, show_default=True, help="Another seed gives another lake.", metavar="N")
@click.pass_obj
def sample(settings: Settings, events: int, days: int, seed: int) -> None:
    """Write a sample lake into the inbox.

    It has every dataset of the contract: four products, with the rhythm and the dirt of real life. The same numbers and
    the same contract give the same bytes.
    """
    from flows import sample as sample_lake  # noqa: PLC0415 (half a second that no other command needs)

    started = time.monotonic()
    result = sample_lake.generate(settings.home, events, days, seed, progress=print_line)
    if result.skipped:
        out.print(f"[bold]sample[/]   the sample of {events:,} events is in the inbox already")
        if result.lacking:
            out.print(
                f"         it is older than the contract and has no {', '.join(result.lacking)}: "
                "for a sample with them choose another home (TIDEMARK_HOME)"
            )
    else:
        written = f"{counted(result.files, 'file')} with {counted(result.delivered_rows, 'event row')} written"
        out.print(f"[bold]sample[/]   {written} in {time.monotonic() - started:.1f} s")


@main.command("land")
@click.option("--retry-quarantine", is_flag=True, help="Then retry quarantined rows and refused files.")
@click.option("--dataset", help="With --retry-quarantine: retry this dataset alone.", metavar="NAME")
@click.pass_obj
def land_command(settings: Settings, retry_quarantine: bool, dataset: str | None) -> None:
    """Land what has settled in the inbox.

    Each file is verified, brought to the contract and pseudonymised. Rows that do not fit the contract go into
    quarantine; with --retry-quarantine, those that fit by now land. Where TIDEMARK_LANDED_URL is set, what landed is
    sent there; exit code 1 where that fails.
    """
    if dataset and not retry_quarantine:
        raise click.UsageError("--dataset goes with --retry-quarantine")
    began = datetime.now(UTC)
    print_landing(land(settings, progress=print_landed))
    if retry_quarantine:
        print_retry(retry(settings, dataset, progress=print_landed))
    count_by_hand(settings, began, ["land"])
    send_or_say_why(settings)


@main.command("build")
@click.option("--from", "first_day", type=DAY, metavar="DAY", help="Rebuild the days from this one on; needs --to.")
@click.option("--to", "last_day", type=DAY, metavar="DAY", help="The last day to rebuild.")
@click.option(
    "--select",
    "selection",
    metavar="SELECTION",
    help="With --from and --to: rebuild only these models, in dbt's syntax, and what is downstream of them.",
)
@click.option(
    "--chunk-days", default=7, show_default=True, type=click.IntRange(1), metavar="N", help="Days rebuilt at once."
)
@click.option("--retry", "again", is_flag=True, help="Build only what failed, was skipped or is not built yet.")
@click.argument("dbt_arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def build_command(
    settings: Settings,
    first_day: datetime | None,
    last_day: datetime | None,
    selection: str | None,
    chunk_days: int,
    again: bool,
    dbt_arguments: tuple[str, ...],
) -> None:
    """Build and test the models.

    Arguments after `--` go to dbt, as in `tidemark build -- --select fct_sessions+`.

    With --from and --to it rebuilds these days of the models that are partitioned by day, chunk by chunk, and builds
    what arrives in between. --select names models, as in `--select "fct_sessions agg_adverts_daily"`. Started again
    after it was stopped, it goes on where it stopped.

    With --retry it goes on from what failed: it builds that, what was skipped because of it, and what is not built yet.
    """
    if (first_day is None) != (last_day is None) or (first_day and dbt_arguments):
        raise click.UsageError("--from and --to belong together, without further arguments")
    if selection is not None and not first_day:
        raise click.UsageError("--select goes with --from and --to; without them: tidemark build -- --select ...")
    if again and (first_day or dbt_arguments):
        raise click.UsageError("--retry stands alone: what failed says what is built")
    began = datetime.now(UTC)
    done: Build | None
    if first_day and last_day:
        request = Request(first_day.date(), last_day.date(), selection or "", chunk_days)
        done = backfill(settings, request, progress=print_line)
    elif again:
        done = build_pending(settings, progress=print_line)
    else:
        done = build(settings, dbt_arguments, progress=print_line)
    if done is None:
        out.print("[bold]built[/]    nothing to retry: every model is up to date and every test has passed")
    else:
        print_build(done)
    failed = bool(done and done.failed)
    count_by_hand(settings, began, ["backfill"] if first_day and not failed else [], has_built=True)
    if failed:
        sys.exit(1)


@main.command("test")
@click.pass_obj
def test_command(settings: Settings) -> None:
    """Run every data test on all rows.

    A build tests only what changed.
    """
    began = datetime.now(UTC)
    done = run_every_test(settings)
    print_build(done)
    count_by_hand(settings, began, [] if done.failed else ["test"], has_built=True)
    if done.failed:
        sys.exit(1)


@main.command("publish")
@click.option("--force", is_flag=True, help="Publish a new version even where nothing changed.")
@click.pass_obj
def publish_command(settings: Settings, force: bool) -> None:
    """Publish what is good as a new version.

    It does so where something is new. Tables whose inputs failed keep their last good rows and are marked as stale.
    Exit code 1 where a table is stale or missing.
    """
    began = datetime.now(UTC)
    publication = publish(settings, force)
    print_publication(settings, publication)
    show_site(settings)
    if publication.is_good:
        count_by_hand(settings, began, ["publish"])
    else:
        sys.exit(1)


@main.command("run")
@click.pass_obj
def run_command(settings: Settings) -> None:
    """Land, build and publish.

    It builds what landed and what earlier runs left pending, and publishes what is good. Where nothing is new, it says
    so and does nothing.
    """
    started, began = time.monotonic(), datetime.now(UTC)
    done = run(settings, on_landed=print_landed, on_built=print_line)
    rule()
    print_landing(done.landing)
    if done.build is None:
        out.print("[bold]built[/]    nothing to build: every model is up to date and every test has passed")
    else:
        print_build(done.build)
    print_sent(settings, done.unsent)
    if done.publication is None:
        out.print(
            "[bold red]publish[/]  nothing was published: no table is good yet; fix the cause and run "
            "`tidemark run` again"
        )
        count_by_hand(settings, began, ["land"], has_built=True)
        sys.exit(1)
    if done.is_good:
        print_totals(read_totals(settings))
    print_publication(settings, done.publication)
    show_site(settings)
    steps = ["land", "publish"] if done.publication.is_good else ["land"]
    count_by_hand(settings, began, steps, has_built=True)
    out.print(f"[dim]done in {time.monotonic() - started:.1f} s[/]")
    if not done.is_good:
        sys.exit(1)


@main.command("deploy")
@click.argument("revision", default="HEAD")
@click.option("--back", is_flag=True, help="Go back to the release that the active one replaced.")
@click.pass_context
def deploy_command(ctx: click.Context, revision: str, back: bool) -> None:
    """Check a commit and run it on this home from now on.

    REVISION is a commit, tag or branch of this checkout, HEAD unless given. Its files are copied below the home; edits
    that are not committed are left out. They are tried on a sample in a home of its own: contract, models, data tests,
    unit tests. Where all pass, they are the active release: each run that begins after that is of it, in the service
    and by hand. Edits of the checkout then change nothing until they are committed and deployed.
    """
    from flows.release.releases import deploy, go_back, read_release_status  # noqa: PLC0415 (no other command deploys)

    settings: Settings = ctx.obj
    if back:
        if ctx.get_parameter_source("revision") is not ParameterSource.DEFAULT:
            raise click.UsageError("--back takes no REVISION; without --back, any commit can be deployed")
        release, left = go_back(settings)
        out.print(f"[bold]deployed[/] {safe(str(release))} again{safe(f'; it was {left}') if left else ''}")
        out.print("         readers see its changes after the next run: a delivery starts one, or `tidemark run`")
        return
    started = time.monotonic()
    release, is_new = deploy(settings, revision, print_line)
    if is_new:
        out.print(f"[bold]deployed[/] {safe(str(release))} in {time.monotonic() - started:.0f} s")
        out.print("         runs at work finish on the release they began with; new ones use this release")
        out.print("         readers see its changes after the next run: a delivery starts one, or `tidemark run`")
    else:
        out.print(f"[bold]deployed[/] {safe(str(release))} is active already")
    if edited := read_release_status(settings).edited:
        out.print(f"         [yellow]not in it:[/] {counted(edited, 'edited file')} of the checkout, not committed")
    if release.replaces:
        out.print(f"         `tidemark deploy --back` goes back to {release.replaces}")


@main.command("rollback")
@click.argument("version", required=False)
@click.pass_obj
def rollback_command(settings: Settings, version: str | None) -> None:
    """Show readers the version before the current one, or VERSION."""
    manifest = rollback(settings, version)
    out.print(f"[bold]rollback[/] readers see {manifest.version}, published {minute(manifest.created_at)}")
    show_site(settings)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def status(settings: Settings, as_json: bool) -> None:
    """Show what waits, landed, was built and is published.

    Also how the jobs, the service and incidents stand. Exit code 1 where something needs a person.
    """
    from flows.release.releases import describe_release, read_release_status  # noqa: PLC0415
    from flows.status.jobs import Health, describe_health, read_health  # noqa: PLC0415 (no other command needs the schedule)

    now = datetime.now(UTC)
    lake, health, release = read_status(settings, now), read_health(settings, now), read_release_status(settings)
    needs_a_person = lake.needs_a_person or health.needs_a_person
    if as_json:
        report = TypeAdapter(LakeStatus).dump_python(lake, mode="json")
        report |= TypeAdapter(Health).dump_python(health, mode="json", by_alias=True)
        report["release"] = asdict(release)
        click.echo(json.dumps({"needs_a_person": needs_a_person, **report}, indent=2, default=str))
    else:
        print_status([*describe_lake(lake), *describe_health(health), ("release", describe_release(release, now))])
    if needs_a_person:
        sys.exit(1)


@main.command("audit")
@click.option("--from", "first", type=DAY, metavar="DAY", help="The first day of landing; the beginning if not given.")
@click.option("--to", "last", type=DAY, metavar="DAY", help="The last day of landing, included; the end if not given.")
@click.option("--dataset", metavar="NAME", help="Only this dataset.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def audit_command(
    settings: Settings, first: datetime | None, last: datetime | None, dataset: str | None, as_json: bool
) -> None:
    """Prove for each file that no row was lost on its way.

    Rows read = landed + quarantined, and landed = kept + duplicates + conflicts, from the inbox to the models. A file
    belongs to the days on which it, or a retry of its rows, landed, in the organisation's time zone. Exit code 1 where
    a step lost or invented rows; the output names step, file and remedy.
    """
    began = datetime.now(UTC)
    done = audit(settings, first.date() if first else None, last.date() if last else None, dataset)
    if as_json:
        click.echo(json.dumps(asdict(done), indent=2, default=str))
    else:
        print_audit(done)
    if done.findings:
        sys.exit(1)
    if not (first or last or dataset or as_json):
        count_by_hand(settings, began, ["audit"])


@main.command("alert")
@click.option("--test", "owner", required=True, metavar="OWNER", help="The owner whose channels are tried.")
@click.pass_obj
def alert_command(settings: Settings, owner: str) -> None:
    """Send a test message to an owner's channels.

    Exit code 1 where one does not take it.
    """
    from flows.alerts.notify import send_test  # noqa: PLC0415 (Apprise loads its services: no other command needs them)

    answers = send_test(settings, owner)
    for label, error in answers:
        out.print(safe(f"{label}: {f'not taken: {error}' if error else 'taken'}"))
    if any(error for _, error in answers):
        sys.exit(1)


for _command in (query_command, shell_command, mcp_command, check_command, dev_command, diff_command):
    main.add_command(_command)
main.add_command(compact_command)
main.add_command(erase_command)
main.add_command(expire_command)
main.add_command(export_person_command)
main.add_command(extract_command)
main.add_command(keys_command)
main.add_command(metric_command)
main.add_command(quarantine_command)
main.add_command(repartition_command)
main.add_command(restore_command)
main.add_command(serve_command)
main.add_command(site_command)
main.add_command(stop_command)
main.add_command(topics_command)

if __name__ == "__main__":
    main(prog_name="tidemark")
