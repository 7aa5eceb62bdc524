"""What a run says of itself to people: a line of its log for each thing that failed, and a page with the reason first.

The page is a Markdown artifact of the flow run. Its key is the job's name, so Prefect keeps each job's in order too.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import httpx
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from flows.build.build import FAILED, Build, Node
from flows.build.reasons import why
from flows.clock import minute
from flows.errors import TidemarkError
from flows.orchestrate.job import OPERATOR, Job
from flows.orchestrate.problems import NODES_FAILED, by_hand
from flows.publish.publish import Publication
from flows.text import counted, cut, one_line

# Characters of an error in a line of the log and in the run's state, and lines of it on the page.
LINE_CHARACTERS = 300
# How many of what failed the state names with the reason.
NAMED = 3
# What DuckDB shows of the statement below its words: the line, and a mark under it.
EXCERPT = re.compile(r"^(LINE \d+: |\^$)")


class NodesFailedError(TidemarkError):
    """Models or tests failed; what is not downstream of them was built. Its text begins with :data:`NODES_FAILED`."""

    def __init__(self, failures: Sequence["Failure"], remedy: str) -> None:
        super().__init__(f"{NODES_FAILED}{reasons(failures)}; {remedy}")
        self.failures = tuple(failures)


@dataclass(frozen=True)
class Failure:
    """One thing that ``verb``: ``why`` as lines, whose it is, its file if it has one.

    ``command`` shows it again, ``remedy`` is what fixes it; of what all on a page have in common, the page's notes say
    it once.
    """

    title: str
    why: tuple[str, ...]
    owner: str
    path: str
    command: str
    verb: str = "failed"
    remedy: str = ""

    @property
    def kind(self) -> str:
        """What it is: a model, a test, a file ..."""
        return self.title.partition(" ")[0]

    @property
    def reason(self) -> str:
        """Why, in one line."""
        return cut(one_line(" ".join(line for line in self.why if not EXCERPT.match(line.strip()))), LINE_CHARACTERS)

    @property
    def line(self) -> str:
        """All of it in one line of a log."""
        where = ", ".join(part for part in (self.path, f"owner {self.owner or 'none'}") if part)
        parts = [f"{self.title} {self.verb} ({where}): {self.reason.rstrip('.')}"]
        parts += [f"reproduce: {self.command}"] if self.command else []
        return "; ".join(parts + ([f"remedy: {self.remedy}"] if self.remedy else []))


@dataclass(frozen=True)
class Link:
    """A page that helps."""

    title: str
    url: str


@dataclass(frozen=True)
class Report:
    """What a run did: what failed, what was built, what readers see now, and where to go on."""

    title: str
    failures: tuple[Failure, ...] = ()
    builds: tuple[Build, ...] = ()
    publication: Publication | None = None
    notes: tuple[str, ...] = ()
    links: tuple[Link, ...] = field(default=())


def failures_of(builds: Iterable[Build]) -> list[Failure]:
    """What failed in these builds, models before the tests that may have failed because of them."""
    failed = [node for build in builds for node in build.failed]
    return [failure_of(node) for node in sorted(failed, key=lambda node: node.kind == "test")]


def failure_of(node: Node) -> Failure:
    """A failed node, with the first lines of the database's error."""
    return Failure(
        title=f"{node.kind} {node.name}",
        why=why(node.message) or (f"{node.failures:,} rows",),
        owner=node.owner,
        path=node.path,
        command=f"tidemark build -- --select {node.name}",
    )


def reasons(failures: Sequence[Failure]) -> str:
    """What failed and why, in one line: the first few, and how many more."""
    room = LINE_CHARACTERS // max(1, min(len(failures), NAMED))
    named = [f"{failure.title.partition(' ')[2]} ({cut(failure.reason, room)})" for failure in failures[:NAMED]]
    more = [f"{len(failures) - NAMED} more"] if len(failures) > NAMED else []
    return ", ".join(named + more)


def log_failures(failures: Iterable[Failure]) -> None:
    """One line of the run's log for each."""
    for failure in failures:
        get_run_logger().error(failure.line)


def write(job: str, report: Report) -> None:
    """Make it an artifact of the flow run at hand. A server that cannot be reached is a warning."""
    try:
        create_markdown_artifact(markdown(report), key=job.replace("_", "-"), description=report.title)
    except httpx.HTTPError as error:
        get_run_logger().warning(f"how the run went could not be reported to the server: {error}")


def markdown(report: Report) -> str:
    """The page."""
    parts = [f"## {report.title}", *(_failure(failure) for failure in report.failures)]
    if report.notes:
        parts.append("\n".join(f"- {note}" for note in report.notes))
    if stood := [*_built(report.builds), *_published(report.publication)]:
        parts += ["### What stands", "\n".join(f"- {line}" for line in stood)]
    if report.links:
        parts.append(" · ".join(f"[{link.title}]({link.url})" for link in report.links))
    if rows := [_row(node) for node in _in_order(node for build in report.builds for node in build.nodes)]:
        parts.append("\n".join(("### Every model and test", "", *TABLE_HEAD, *rows)))
    return "\n\n".join(parts) + "\n"


# On the page, not an artifact of its own: of several, Prefect shows any first. A page is narrow: what is long is last.
TABLE_HEAD = (
    "| node | status | owner | kind | rows | seconds | file | message |",
    "| --- | --- | --- | --- | ---: | ---: | --- | --- |",
)
CELL_CHARACTERS = 160


def _in_order(nodes: Iterable[Node]) -> list[Node]:
    """What a person looks for first: what failed, warned, was skipped; the others as they ran."""

    def place(node: Node) -> int:
        if node.status in FAILED:
            return 0
        return {"warn": 1, "skipped": 2}.get(node.status, 3)

    return sorted(nodes, key=place)


def _row(node: Node) -> str:
    said = cut(one_line(" ".join(why(node.message))), CELL_CHARACTERS) if node.status in (*FAILED, "warn") else ""
    cells = (
        f"`{node.name}`",
        node.status,
        node.owner,
        node.kind,
        f"{node.failures or ''}",
        f"{node.seconds:.2f}",
        node.path,
        said.replace("|", "\\|"),
    )
    return f"| {' | '.join(cells)} |"


def _failure(failure: Failure) -> str:
    kind, _, name = failure.title.partition(" ")
    quoted = "\n".join(f"    {line}" for line in failure.why)
    rows = [f"- Owner: **{failure.owner or 'none'}**"]
    rows += [f"- File: `{failure.path}`"] if failure.path else []
    rows += [f"- Reproduce: `{failure.command}`"] if failure.command else []
    rows += [f"- Remedy: {failure.remedy}"] if failure.remedy else []
    return f"### {kind} `{name}` {failure.verb}\n\n{quoted}\n\n" + "\n".join(rows)


def _built(builds: Iterable[Build]) -> Iterable[str]:
    nodes = [node for build in builds for node in build.nodes]
    if not nodes:
        return
    skipped = [node.name for node in nodes if node.status == "skipped" and node.kind != "test"]
    good = {kind: sum(n.kind == kind and n.status in ("success", "pass", "warn") for n in nodes) for kind in KINDS}
    counts = ", ".join(counted(count, kind) for kind, count in good.items() if count)
    yield f"Built and passed: {counts or 'nothing'}"
    if warned := [node.name for node in nodes if node.status == "warn"]:
        yield f"Warned: {_names(warned)}"
    if skipped:
        yield f"Skipped, as they are downstream of what failed: {_names(skipped)}"


KINDS = ("seed", "model", "test")


def _published(publication: Publication | None) -> Iterable[str]:
    if publication is None:
        return
    manifest = publication.manifest
    fresh = sum(not table.is_stale for table in manifest.tables)
    what = "published" if publication.is_new else "unchanged"
    yield f"Version `{manifest.version}` {what}: {fresh:,} of {len(manifest.tables):,} tables up to date"
    if manifest.stale:
        yield "As they were before: " + ", ".join(f"`{t.name}` ({_as_of(t.as_of)})" for t in manifest.stale)
    if manifest.missing:
        yield f"Never published so far: {_names([table.name for table in manifest.missing])}"


def _as_of(moment: datetime | None) -> str:
    return f"of {minute(moment)}" if moment else "of an earlier version"


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def failure_of_job(name: str, job: Job | None, error: Exception) -> Failure:
    """What failed but is no model, test or file: the job itself."""
    why: tuple[str, ...] = (str(error),)
    if not isinstance(error, TidemarkError):
        why = (f"{type(error).__name__}: {error}", "a bug: its traceback is in the log")
    return Failure(
        title=f"job {name}",
        why=why,
        owner=job.owner if job else OPERATOR,
        path="",
        command="",
        remedy=f"fix it, then `{typed}`" if (typed := by_hand(name, job)) else "",
    )


def counted_by_kind(failures: Iterable[Failure]) -> str:
    """How many of each kind failed, for people."""
    kinds = Counter(failure.kind for failure in failures)
    return ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in kinds.items())
