"""Build and test the models: what landed is entered into the warehouse, then dbt does the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flows.build.dbt import models_to_build, read_project, run_dbt
from flows.build.landings import enter_landings
from flows.build.logic import variables_given
from flows.build.plan import Days, make_plan
from flows.build.project import DataTest, Project
from flows.build.warehouse import (
    PendingWork,
    once_free,
    open_warehouse,
    read_pending_work,
    warehouse_held,
)
from flows.errors import TidemarkError
from flows.land.compact import MANY_FILES, compact
from flows.settings import Settings

# The tag that what is built has in dbt's manifest meanwhile.
CHOSEN = "chosen"
NO_UNIT_TESTS = ("--exclude-resource-type", "unit_test")
FAILED = {"error", "fail", "runtime error"}


@dataclass(frozen=True)
class Node:
    """A model, seed or test that dbt ran; ``path`` is its file in the project."""

    name: str
    kind: str
    status: str
    path: str
    seconds: float
    failures: int
    message: str
    owner: str


@dataclass
class Build:
    """What a build did, node by node."""

    nodes: list[Node] = field(default_factory=list)

    @property
    def failed(self) -> list[Node]:
        """Nodes that failed: what is downstream of them was skipped, and is published as it was before."""
        return [n for n in self.nodes if n.status in FAILED]

    @property
    def warned(self) -> list[Node]:
        """Tests that found something which does not block."""
        return [n for n in self.nodes if n.status == "warn"]

    def count(self, kind: str, *statuses: str) -> int:
        """Nodes of a kind (model, test, seed), of these statuses where any are given."""
        return sum(n.kind == kind and (not statuses or n.status in statuses) for n in self.nodes)


@once_free
def build(
    settings: Settings,
    arguments: tuple[str, ...] = (),
    progress: Callable[[str], None] = lambda line: None,
) -> Build:
    """Enter new landings into the warehouse, then build and test every model that ``arguments`` (dbt's own) select.

    Who else builds or reads the warehouse is waited for. Raises :class:`~flows.errors.TidemarkError` where it cannot be
    opened or the project cannot be parsed; failed models and tests are in the result.
    """
    _compact_days_of_many_files(settings, progress)
    with warehouse_held(settings, "building"):
        progress(f"{enter_landings(settings)} new landings entered")
        return run_build(settings, arguments, progress)


@once_free
def build_pending(settings: Settings, progress: Callable[[str], None] = lambda line: None) -> Build | None:
    """Enter new landings, then build and test what is pending after them and earlier builds, and nothing else.

    What failed, or was skipped because of it, is tried again. None where nothing was pending. Raises as :func:`build`
    does.
    """
    _compact_days_of_many_files(settings, progress)
    with warehouse_held(settings, "building"):
        progress(f"{enter_landings(settings)} new landings entered")
        return run_pending(settings, progress)


def _compact_days_of_many_files(settings: Settings, progress: Callable[[str], None]) -> None:
    """Make one file of the many of a day before every model reads it.

    Not within the lock of the warehouse: another compaction may be waited for.
    """
    try:
        compaction = compact(settings, at_least=MANY_FILES)
    except TidemarkError as error:  # to read many files is slower, and no reason not to build
        progress(f"compact  {error}")
        return
    for fault in compaction.faults:
        progress(f"compact  {fault}")
    if compaction.days:
        progress(f"compact  {len(compaction.days):,} days of many files made one file each")


def run_pending(settings: Settings, progress: Callable[[str], None]) -> Build | None:
    """Build and test what is pending; None where nothing is. The caller holds the lock."""
    project = read_project(settings)
    pending = read_pending_work(settings, project)
    if pending.is_empty:
        return None
    if pending.everything:
        if pending.why_everything:
            progress(f"everything is built again: {pending.why_everything}")
        return run_build(settings, (), progress)
    return run_named(settings, {*pending.outdated, *(test.name for test in tests_to_run(project, pending))}, progress)


def run_named(
    settings: Settings,
    names: set[str],
    progress: Callable[[str], None],
    days: Days | None = None,
    arguments: tuple[str, ...] = (),
) -> Build:
    """Have dbt build and test what has these names, with more ``arguments`` of its own.

    With ``days``, models partitioned by day rebuild these, and what is new to them stays so. The caller holds
    :func:`warehouse_held`.
    """
    project = read_project(settings)
    with project.tagged(CHOSEN, names):
        chosen = ("--select", f"tag:{CHOSEN}", *arguments)
        return _run(settings, project, chosen, frozenset(names & project.models.keys()), progress, days)


def tests_to_run(project: Project, pending: PendingWork) -> list[DataTest]:
    """The pending tests, and those that will be once the outdated models are built."""
    outdated = set(pending.outdated)
    return [test for test in project.tests if test in pending.tests or test.reads & outdated]


def run_build(
    settings: Settings,
    arguments: tuple[str, ...],
    progress: Callable[[str], None],
) -> Build:
    """Have dbt build and test what ``arguments`` select. The caller holds :func:`warehouse_held`."""
    project = read_project(settings)
    return _run(settings, project, arguments, models_to_build(settings, project, arguments), progress)


def _run(
    settings: Settings,
    project: Project,
    arguments: tuple[str, ...],
    models: frozenset[str],
    progress: Callable[[str], None],
    days: Days | None = None,
) -> Build:
    """Plan the build of ``models``, which ``arguments`` select, and have dbt do it."""
    steps = make_plan(settings, project, variables_given(arguments), models, days)

    def on_event(event: Any) -> None:
        if event.info.name in ("LogModelResult", "LogSeedResult"):
            data = event.data
            relation = f"{data.node_info.node_relation.schema}.{data.node_info.node_name}"
            how = data.status.split()[0].lower()
            progress(f"build    {data.index:>3} of {data.total}  {relation}  {how}  {data.execution_time:.1f} s")

    environment = {"TIDEMARK_DAYS": f"{days[0]}:{days[1]}"} if days else {}
    command = ["build", *NO_UNIT_TESTS, *arguments]
    return _ran(settings, run_dbt(settings, command, [on_event], environment, steps, project))


@once_free
def run_every_test(settings: Settings) -> Build:
    """Run every data test on all rows, whatever passed before: what a nightly run does. Raises as :func:`build`."""
    with warehouse_held(settings, "testing"):
        # What landed since the last build is not entered: no model has seen it yet.
        if not settings.warehouse.exists():
            enter_landings(settings)
        environment = {"TIDEMARK_TEST_ROWS": "all"}
        return _ran(settings, run_dbt(settings, ["test", *NO_UNIT_TESTS], environment=environment))


def _ran(settings: Settings, result: Any) -> Build:
    owners = read_project(settings).owners
    # The hooks at start and end come as operations.
    nodes = [_node(r, owners) for r in result.results if str(r.node.resource_type) != "operation"]
    if any(node.kind == "test" and node.failures for node in nodes):
        nodes = _with_recorded_messages(settings, nodes)
    return Build(nodes)


def _with_recorded_messages(settings: Settings, nodes: list[Node]) -> list[Node]:
    """The nodes with the messages that the run recorded: those of tests name the broken rules, which dbt's do not."""
    with open_warehouse(settings, read_only=True) as warehouse:
        recorded = warehouse.execute(
            """
            select node_name, message
            from ops.dbt_results
            where run_id = (select run_id from ops.dbt_runs order by rowid desc limit 1)
            """
        )
        messages = dict(recorded.fetchall())
    return [replace(node, message=messages.get(node.name) or node.message) for node in nodes]


def _node(result: Any, owners: Mapping[str, str]) -> Node:
    node = result.node
    return Node(
        name=node.name,
        kind=str(node.resource_type),
        status=str(result.status),
        path=node.original_file_path,
        seconds=result.execution_time,
        failures=result.failures or 0,
        message=str(result.message or ""),
        owner=owners.get(node.name, ""),
    )
