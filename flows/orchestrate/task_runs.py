"""Report to Prefect's server how each dbt node of a build went: a task run each."""

from collections.abc import Sequence

import httpx
from prefect import runtime, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.logging import get_run_logger

from flows.build.build import FAILED, Build, Node
from flows.build.reasons import why
from flows.text import cut, one_line

MESSAGE_CHARACTERS = 500
STATES = {"skipped": (StateType.CANCELLED, "Skipped"), "warn": (StateType.COMPLETED, "Warned")}


@task(name="node")
def _node() -> None:
    """Stands for dbt's nodes, which dbt runs: the task runs below only report them."""


def record_nodes(built: Sequence[Build], recorded: int = 0) -> None:
    """Make a task run in the flow run at hand for each node that was built or tested.

    ``recorded`` is how many the flow run has already, where it reports them as it goes. A server that cannot be reached
    is a warning.
    """
    try:
        _record([node for build in built for node in build.nodes], recorded)
    except httpx.HTTPError as error:  # what was built is so all the same
        get_run_logger().warning(f"how each node went could not be reported to the server: {error}")


def _record(nodes: Sequence[Node], recorded: int) -> None:
    flow_run_id = runtime.flow_run.id
    with get_client(sync_client=True) as client:
        for number, node in enumerate(nodes, recorded):
            client.create_task_run(
                _node, flow_run_id=flow_run_id, dynamic_key=str(number), name=node.name, state=state_of(node)
            )


def state_of(node: Node) -> State[None]:
    """The state of a node's task run: failed, warned, skipped or completed, with dbt's message."""
    kind, name = (StateType.FAILED, "Failed") if node.status in FAILED else (StateType.COMPLETED, "Completed")
    kind, name = STATES.get(node.status, (kind, name))
    found = f"{node.failures:,} rows; " if node.failures else ""
    return State(type=kind, name=name, message=f"{found}{_message(node)} ({node.seconds:.1f} s)")


def _message(node: Node) -> str:
    """dbt's message in one line."""
    return cut(one_line(" ".join(why(node.message))), MESSAGE_CHARACTERS)
