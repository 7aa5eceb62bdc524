"""What is failing now, and what waits for it: which models are not good, and because of what."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from flows.build.dbt import read_project
from flows.build.project import SCHEMAS, Project
from flows.build.warehouse import PendingWork, has_tables, open_warehouse, read_pending_work
from flows.settings import Settings


@dataclass(frozen=True)
class Cause:
    """A node that failed or is not built yet, and who is to be asked about it; ``owner`` is '' where none is named."""

    name: str
    owner: str


@dataclass(frozen=True)
class Failing:
    """A model, seed or test that failed when it last ran and has not passed since.

    ``path`` is its file in the project, ``rows`` how many rows a test found. ``since`` (UTC) is the end of the first of
    the runs in which it failed without a break. ``is_blocking`` is False for what only warns. ``skipped`` names the
    published tables that wait for it, itself among them where it is one.
    """

    unique_id: str
    name: str
    kind: str
    path: str
    owner: str
    status: str
    rows: int
    message: str
    since: datetime
    is_blocking: bool
    skipped: tuple[str, ...]


def find_causes(project: Project, pending: PendingWork) -> dict[str, tuple[Cause, ...]]:
    """The published models that are not good, each with what it waits for, sorted by name.

    A model is good when neither it nor anything it depends on is outdated, and no blocking test that guards it is
    pending. The causes are where the trouble begins: not what was skipped because of something else that failed. With
    ``everything`` pending no model is good, and the cause is the model itself.
    """
    published = [name for name, model in project.models.items() if model.schema in SCHEMAS]
    if pending.everything:
        return {name: (Cause(name, project.owners.get(name, "")),) for name in published}
    outdated = set(pending.outdated)

    def outdated_in(names: Iterable[str]) -> set[str]:
        """Which of these models and seeds, and of all they depend on, are outdated."""
        found = set(names)
        for name in {*found} & project.models.keys():
            found |= project.models[name].upstream
        return found & outdated

    blocking = [test for test in pending.tests if test.is_blocking]
    # Whether a pending test would fail is not known while a model that it reads is outdated: that model is the cause
    # then. A test that compares it with other models says nothing about these, or what is broken would hold back what
    # does not depend on it.
    waiting = {test: outdated_in(test.reads) for test in blocking}
    guarding = [test for test in blocking if not waiting[test]]
    unknown = [test for test in blocking if waiting[test] and test.is_attached]
    found: dict[str, tuple[Cause, ...]] = {}
    for name in published:
        bad = outdated_in([name]).union(*(waiting[test] for test in unknown if name in test.guards))
        tests = {test.name for test in guarding if test.guards & {name, *bad}}
        skipped = {of for of in bad if outdated_in([of]) != {of} or any(of in test.guards for test in guarding)}
        if names := (bad - skipped) | tests:
            found[name] = tuple(Cause(of, project.owners.get(of, "")) for of in sorted(names))
    return found


def read_failing(settings: Settings) -> list[Failing]:
    """What is failing now, by unique id: all of it each time, and what is skipped because of it is not part of it.

    Counted are models, seeds and tests of the project as it is now whose newest result, skips aside, is a failure or a
    warning, unless a build that was killed before it could record so has made the model since. A test whose arguments
    were edited is another to dbt; here it is the same one, or what it found before the edit would be reported to
    nobody, and passing after it would not count.

    Raises :class:`~flows.errors.TidemarkError` where another process has the warehouse or the project cannot be parsed.
    """
    if not settings.warehouse.exists():
        return []
    with open_warehouse(settings, read_only=True) as warehouse:
        if not has_tables(warehouse, "dbt_results", "model_progress"):
            return []
        if not warehouse.execute(NEWEST, _same_nodes({})).fetchall():
            return []
        known = warehouse.execute("select distinct node_id, resource_type, node_name from ops.dbt_results").fetchall()
        project = read_project(settings)
        now_called = successors(known, project)
        rows = warehouse.execute(NEWEST, _same_nodes(now_called)).fetchall()
    not_good = find_causes(project, read_pending_work(settings, project)).keys()
    tests = {test.unique_id: test for test in project.tests}
    failing = []
    for unique_id, status, failures, message, since in rows:
        node = project.manifest.nodes.get(unique_id)
        if node is None:
            continue  # it is no longer in the project
        test = tests.get(unique_id)
        is_blocking = status != "warn" and (test is None or test.is_blocking)
        waiting: Iterable[str] = ()
        if is_blocking:
            waiting = test.guards if test else project.downstream(node.name)
        failing.append(
            Failing(
                unique_id=unique_id,
                name=node.name,
                kind=str(node.resource_type),
                path=node.original_file_path,
                owner=project.owners[node.name],
                status=status,
                rows=failures or 0,
                message=message or "",
                since=since.replace(tzinfo=UTC),
                is_blocking=is_blocking,
                skipped=tuple(sorted({*waiting} & not_good)),
            )
        )
    return failing


def successors(known: Iterable[tuple[str, str, str]], project: Project) -> dict[str, str]:
    """The ids that nodes have in the project now, by an id they had before.

    ``known`` are ids with kind and name. dbt puts the arguments of a test into its id. An id that is gone goes on as
    the one node of its kind and name; where there are several of these or none, it is gone.
    """
    now: dict[tuple[str, str], list[str]] = defaultdict(list)
    for unique_id, node in project.manifest.nodes.items():
        now[str(node.resource_type), node.name].append(unique_id)
    return {
        unique_id: now[kind, name][0]
        for unique_id, kind, name in known
        if unique_id not in project.manifest.nodes and len(now[kind, name]) == 1
    }


def _same_nodes(now_called: Mapping[str, str]) -> dict[str, list[str]]:
    return {"before": list(now_called), "now": list(now_called.values())}


# A node fails without a break since the first result that is like the newest, a failure or a warning, and after which
# none was unlike it. Rows are in the order in which they were recorded. A mark of a time to come is of a clock that ran
# ahead, and says nothing of what came before what.
NEWEST = """
with same as (
    select
        unnest(cast($before as string[])) as before,
        unnest(cast($now as string[])) as now
),

results as (
    select
        results.* replace (coalesce(same.now, results.node_id) as node_id),
        results.rowid as number,
        case status when 'warn' then 'warned' when 'pass' then 'good' when 'success' then 'good' else 'failed' end
            as outcome
    from ops.dbt_results as results
    left join same on results.node_id = same.before
    where resource_type in ('model', 'seed', 'test') and status <> 'skipped'
),

newest as (
    select * from results
    qualify row_number() over (partition by node_id order by number desc) = 1
),

unlike as (
    select
        results.node_id,
        max(results.number) as number
    from results
    inner join newest on results.node_id = newest.node_id and results.outcome <> newest.outcome
    group by results.node_id
)

select
    newest.node_id,
    newest.status,
    newest.failures,
    newest.message,
    (
        select min(results.recorded_at) from results
        where results.node_id = newest.node_id and results.number > coalesce(unlike.number, -1)
    ) as since
from newest
left join unlike on newest.node_id = unlike.node_id
left join ops.model_progress as progress on newest.resource_type = 'model' and newest.node_name = progress.model
where
    newest.outcome <> 'good'
    and (
        progress.marked_at is null
        or progress.marked_at <= newest.recorded_at
        or progress.marked_at > current_timestamp at time zone 'UTC'
    )
order by newest.node_id
"""
