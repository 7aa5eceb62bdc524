"""One writer of the warehouse: who builds or publishes holds a slot that people see, and a lock that needs no server.

The global limit ``warehouse`` of the server shows that somebody writes; who waits asks for it again and again, so it
does not go round in order. The file lock of :func:`flows.build.warehouse.warehouse_lock` is what builds and
publications take themselves, also those that a person starts on the command line while no server runs. A reader that
has the file open keeps writers out by DuckDB's own lock. Who waits, and for which process, is in the journal and in the
state of its flow run.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.concurrency.sync import concurrency
from prefect.logging import get_run_logger
from prefect.states import Running

from flows.build.warehouse import await_free
from flows.orchestrate.journal import Journal
from flows.settings import Settings

WAREHOUSE = "warehouse"
# A process that was killed with the slot gives it back after this many seconds, the least that the server takes.
LEASE_SECONDS = 60
# A server that is being restarted answers again within this many seconds.
RESTART_SECONDS = 120.0


@contextmanager
def one_writer(settings: Settings, journal: Journal, job: str, flow_run_id: str) -> Iterator[None]:
    """Hold the server's slot, once no process outside of Prefect has the warehouse; a wait can be seen, and is no try
    that failed, however long it takes."""
    with ExitStack() as slot:
        with get_client(sync_client=True) as client:
            _wait_for_server(client)
            taken = client.read_global_concurrency_limit_by_name(WAREHOUSE).active_slots
        if taken:
            with show_waiting(journal, job, flow_run_id, "the warehouse, which another run writes"):
                slot.enter_context(_slot())
        else:
            slot.enter_context(_slot())
        await_free(settings, lambda held_by: show_waiting(journal, job, flow_run_id, f"the warehouse: {held_by}"))
        yield


def _wait_for_server(client: SyncPrefectClient) -> None:
    """A client of Prefect's gives up at once where the server does not answer at first, as while it is restarted."""
    until = time.monotonic() + RESTART_SECONDS
    while (error := client.api_healthcheck()) and time.monotonic() < until:
        get_run_logger().warning(f"waits for the server ({error})")
        time.sleep(2)


@contextmanager
def _slot() -> Iterator[None]:
    # A server that was restarted forgets leases: that is no reason to stop a build in the middle.
    slot = concurrency(WAREHOUSE, lease_duration=LEASE_SECONDS, strict=True, raise_on_lease_renewal_failure=False)
    slot.__enter__()
    try:
        yield
    finally:
        try:
            slot.__exit__(None, None, None)
        except httpx.HTTPError as error:  # nor to call a build failed that is done
            get_run_logger().warning(f"the slot of the warehouse is free in {LEASE_SECONDS} s: {error}")


@contextmanager
def show_waiting(journal: Journal, job: str, flow_run_id: str, waits_for: str) -> Iterator[None]:
    """Let it be seen that the flow run waits, in the journal and in its state, as long as the block lasts."""
    get_run_logger().info(f"waits for {waits_for}")
    with journal.waiting(flow_run_id, job, waits_for):
        _show(flow_run_id, Running(name="Waiting", message=f"waits for {waits_for}"))
        yield
        _show(flow_run_id, Running())


def _show(flow_run_id: str, state: State[None]) -> None:
    """The state is for people: a build does not fail because it could not be shown."""
    try:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(UUID(flow_run_id), state, force=True)
    except httpx.HTTPError as error:
        get_run_logger().warning(f"that the run is {state.name} could not be reported to the server: {error}")
