"""All that the command prints."""

import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.audit.audit import Audit
from flows.build.build import FAILED, Build
from flows.build.reasons import found
from flows.clock import minute
from flows.contract.spec import load_specs
from flows.land.land import Landing
from flows.land.receipt import Receipt, Status
from flows.land.retry import Retried
from flows.land.sent import read_sent_zone
from flows.publish.manifest import OPS, current_version, describe_causes
from flows.publish.publish import Publication
from flows.settings import Settings
from flows.status.describe_lake import Section
from flows.status.lake import Totals
from flows.text import counted


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """A reader that went away (`| head`) must not stop a build half-way: go on without a word."""
        self.quiet = True
        self.file = Path(os.devnull).open("w")  # noqa: SIM115


out = _Console(highlight=False, soft_wrap=True)


def plain(text: str) -> str:
    """A line without what a terminal takes for commands, and without line breaks."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def safe(text: str) -> str:
    """A line as it can be printed: names of files may hold line breaks and what a terminal takes for commands."""
    return escape(plain(text))


def rule() -> None:
    """A line across the terminal, in a sign that it can show."""
    is_plain = not (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    out.rule(style="dim", characters="-" if is_plain else "─")


def print_error(text: str) -> None:
    """What went wrong, for people."""
    out.print(
        "\n".join(f"{'' if n else '[bold red]error:[/] '}{safe(line)}" for n, line in enumerate(text.split("\n")))
    )


def print_landed(receipt: Receipt) -> None:
    """What became of a file, as soon as it did."""
    what = counted(receipt.rows_landed, "row")
    if receipt.rows_rejected:
        what += f", {receipt.rows_rejected:,} quarantined"
    if receipt.rows_removed:
        what += f", {receipt.rows_removed:,} of people who were erased"
    if receipt.has_no_fit:
        what += f": {receipt.reason}"
    if receipt.status is not Status.LANDED:
        what = f"{receipt.status}: {receipt.reason}"
    again = f" (a retry of batch {receipt.retries_batch_id})" if receipt.retries_batch_id else ""
    print_line(f"land     {receipt.file}  {what}{again}")


def print_line(line: str) -> None:
    """A line on the way, of less weight than what comes at the end."""
    out.print(safe(line), style="dim")


def print_landing(landing: Landing) -> None:
    """What a landing did, with what a person must see to."""
    files, rows = landing.count, landing.rows
    if not landing.receipts:
        out.print("[bold]landed[/]   nothing new in the inbox")
    else:
        parts = [
            f"{counted(rows('rows_landed'), 'row')} from {counted(files(Status.LANDED), 'file')}",
            counted(rows("rows_rejected"), "row") + " quarantined",
        ]
        if refused := files(Status.REFUSED):
            parts.append(counted(refused, "file") + " refused")
        if duplicates := files(Status.DUPLICATE):
            parts.append(counted(duplicates, "duplicate file"))
        if erased := rows("rows_removed"):
            parts.append(f"{counted(erased, 'row')} of people who were erased")
        if ignored := rows("rows_ignored"):
            parts.append(f"{counted(ignored, 'row')} left out by their feed")
        if withheld := rows("rows_withheld"):
            parts.append(f"{counted(withheld, 'row')} landed in part, for want of consent")
        if unknown := rows("unknown_keys"):
            parts.append(counted(unknown, "unknown key"))
        out.print(f"[bold]landed[/]   {_joined(parts)}")
    for example in landing.examples[:5]:
        out.print(f"         [yellow]quarantined[/] {safe(example)}")
    if rows("rows_rejected") > 5:
        out.print("         all of them, with what they say: `tidemark quarantine`")
    owners = {name: spec.owner or "none" for name, spec in load_specs().items()}
    for receipt in landing.receipts:
        if receipt.status is Status.REFUSED:
            out.print(f"         [yellow]refused[/] {safe(f'{receipt.file}: {receipt.reason}')}")
        elif receipt.has_no_fit:
            line = f"{receipt.file}: {receipt.reason} (owner: {owners[receipt.dataset]})"
            out.print(f"         [yellow]no row fits[/] {safe(line)}")
        elif receipt.rows_rejected > receipt.rows_landed:
            share = f"{receipt.rows_rejected:,} of {receipt.rows_read:,} rows"
            out.print(f"         [yellow]mostly quarantined[/] {safe(f'{receipt.file}: {share}')}")
    if any(receipt.has_no_fit for receipt in landing.receipts):
        out.print(
            "         `tidemark status` lists these until rows of them land: deliver them again, or fix the contract"
        )
        out.print("         and run `tidemark land --retry-quarantine`")
    for name in landing.unsettled:
        out.print(f"         still being written, left for the next run: {safe(name)}")
    for line in landing.left_alone:
        out.print(f"         [yellow]left alone[/] {safe(line)}")


def print_retry(done: Retried) -> None:
    """What was tried again of quarantine and refused files."""
    rows = sum(r.rows_landed for r in done.receipts)
    tried = []
    if done.receipts or done.left:
        left_rows = sum(left.rows for left in done.left)
        tried.append(f"{counted(rows, 'row')} landed from {counted(len(done.receipts), 'file')}")
        tried.append(f"{counted(left_rows, 'row')} still quarantined")
    if done.still_refused:
        tried.append(f"{counted(len(done.still_refused), 'file')} refused again")
    out.print(f"[bold]retried[/]  {_joined(tried) or 'nothing: no row or file can be retried'}")
    reasons: Counter[tuple[str, str | None]] = Counter()
    for left in done.left:
        reasons[left.reason, left.field] += left.rows
    for (reason, where), count in reasons.most_common():
        field = f", field {where}" if where else ""
        out.print(
            f"         [yellow]still quarantined[/] {counted(count, 'row')}: {safe(reason.replace('_', ' ') + field)}"
        )
    for receipt in done.still_refused:
        out.print(f"         [yellow]still refused[/] {safe(f'{receipt.file}: {receipt.reason}')}")
    if done.still_refused:
        out.print("         have these delivered again, corrected")
    for line in done.not_tried:
        out.print(f"         [yellow]not retried[/] {safe(line)}")
    if rows:
        out.print("         they reach the marts with the next `tidemark run`")


def print_audit(done: Audit) -> None:
    """The totals of an audit by dataset, and its findings."""
    lines = [["dataset", "files", "not landed", "rows in", "landed", "quarantined", "removed"]]
    lines[0] += ["kept", "duplicates", "conflicts", "superseded", "not built"]
    for t in done.totals:
        known = [t.files, t.not_landed, t.rows_in, t.landed, t.quarantined, t.removed]
        kept = [_count(t.kept), _count(t.duplicates), _count(t.conflicts), _count(t.superseded)]
        if t.ends_at_staging:
            kept = ["ends at", "staging", "-", "-"]
        lines.append([t.dataset, *map(_count, known), *kept, _count(t.not_built)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, *cells in lines if done.totals else []:
        out.print(safe("  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])])))
    for note in done.notes if done.totals else ["no file landed in that period"]:
        out.print(f"[dim]{safe(note)}[/]")
    for finding in done.findings:
        which = f" (batch {finding.batch_id}, {finding.file})" if finding.batch_id and finding.file else ""
        out.print(f"[red]{finding.dataset}, {finding.step}:[/] {safe(finding.text + which)}")
        out.print(f"    {safe(finding.remedy)}")
    if not done.findings:
        out.print("[bold]audit[/]    every row that was checked is accounted for")


def print_totals(totals: Totals) -> None:
    """The events of the warehouse, and what became of the other deliveries of them."""
    parts = [f"{totals.events:,} unique", f"{counted(totals.duplicates, 'duplicate')} dropped", f"{totals.late:,} late"]
    if totals.future:
        parts.append(f"{totals.future:,} from the future, left out of every figure")
    out.print(f"[bold]events[/]   {_joined(parts)}")
    if totals.conflicts:
        copies = "copy contradicts" if totals.conflicts == 1 else "copies contradict"
        out.print(
            f"         [yellow]{totals.conflicts:,} {copies} the one that counts:[/] "
            "ops_event_conflicts names file and line of both"
        )


def _joined(parts: Iterable[str]) -> str:
    return " · ".join(parts)


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def print_build(done: Build) -> None:
    """What a build did, with what warned and failed."""
    models, tests = done.count("model"), done.count("test")
    out.print(
        f"[bold]built[/]    {done.count('model', 'success'):,} of {models:,} models · "
        f"{done.count('test', 'pass'):,} of {tests:,} tests passed · {len(done.warned):,} warned · "
        f"{sum(n.kind == 'test' and n.status in FAILED for n in done.nodes):,} failed"
    )
    for node in done.warned:
        out.print(
            f"         [yellow]warning[/] {node.name}: {counted(node.failures, 'row')} (owner: {node.owner or 'none'})"
        )
    for node in done.failed:
        first, *more = found(node.failures, node.message) or ("",)
        out.print(f"         [red]failed[/] {node.kind} {node.name} ({node.path}): {safe(first)}")
        for line in more:
            out.print(f"                {safe(line)}")
        out.print(f"                reproduce: tidemark build -- --select {node.name}")
    if done.failed:
        out.print("         remedy: fix it, then `tidemark build --retry` and `tidemark publish`")


def print_publication(settings: Settings, publication: Publication) -> None:
    """What readers see, what of it is stale, and how to query it."""
    manifest = publication.manifest
    current = current_version(settings)
    what = "published" if publication.is_new else "newest   "
    rows = sum(t.rows for t in manifest.tables)
    parts = [manifest.version, counted(len(manifest.tables), "table"), counted(rows, "row")]
    if not publication.is_new:
        parts.append("nothing new to publish")
    if current != manifest.version:
        parts.append(f"readers see {current} since a rollback")
    out.print(f"[bold]{what}[/] {_joined(parts)}")
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 9))
    for t in manifest.tables:
        if not t.name.startswith(OPS):
            table.add_row(t.name, counted(t.rows, "row"))
    out.print(table)
    for t in manifest.stale:
        because = safe(describe_causes(t.stale_because))
        since, as_of = (minute(moment) if moment else "before" for moment in (t.stale_since, t.as_of))
        out.print(f"         [yellow]stale[/] {t.name} since {since}, rows as of {as_of}: waits for {because}")
    for missing in manifest.missing:
        out.print(f"         [yellow]missing[/] {missing.name}: waits for {safe(describe_causes(missing.because))}")
    if publication.unsent:
        out.print(f"         [red]not sent[/] {safe(publication.unsent)}")
        out.print(
            f"         readers at {safe(str(settings.published_url))} see what they did; the next run tries again"
        )
    elif settings.published_url:
        out.print(f"         sent to {safe(settings.published_url)}")
    for line in how_to_query(settings):
        out.print(f"         {safe(line)}")


def print_sent(settings: Settings, unsent: str | None) -> None:
    """Whether what landed is at the object store, where one is set."""
    if unsent:
        out.print(f"         [red]not sent[/] what landed: {safe(unsent)}")
        out.print("         it is whole here; the next landing tries again")
    elif settings.landed_url and (sent := read_sent_zone(settings)):
        out.print(f"         what landed up to batch {sent.last_batch_id} is at {safe(sent.url)}")


def how_to_query(settings: Settings) -> list[str]:
    """One command line and one SQLAlchemy URL that read the published marts."""
    path = settings.published / "current" / "marts.duckdb"
    quoted = shlex.quote(str(path))
    query = "select product, sum(sessions_count) as sessions from agg_audience_daily group by all order by all"
    return [
        f'query:  .venv/bin/duckdb -readonly {quoted} "{query}"',
        f"or:     duckdb:///{path.absolute()}?access_mode=read_only  (SQLAlchemy)",
    ]


def print_status(sections: Iterable[Section]) -> None:
    """A status by section."""
    for heading, lines in sections:
        out.print(f"[bold]{heading}[/]")
        for line in lines:
            out.print(f"  {safe(line)}")
