"""Prefect's server as it is started: what is changed of it, and that it answers while many ask."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from flows.contract.spec import PROJECT
from tests.support.patience import PATIENCE_SECONDS, until
from tests.support.served import free_port

IN_A_THREAD = """
import gc, threading, time
from flows.orchestrate.service import prefect_server as server

class Ring:
    def __init__(self):
        self.self = self
    def __del__(self):
        seen.add(threading.current_thread().name)

seen = set()
server.COLLECT_SECONDS, server.YOUNG_OBJECTS = 0.01, 100
server.app = lambda: None
server.main()
assert not gc.isenabled()
while not seen:
    rings = [Ring() for _ in range(1000)]
    del rings
    time.sleep(0.01)
print(*seen)
"""


def test_garbage_is_collected_in_a_thread_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_THREAD], capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )
    assert done.stdout.split() == ["garbage"], done.stderr


def answers(client: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return client.get("/health").is_success
    return False


@pytest.fixture(name="client")
def client_fixture(tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a server with a database of its own."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "flows.orchestrate.service.prefect_server",
        "server",
        "start",
        "--host",
        "127.0.0.1",
    ]
    environment = os.environ | {"PREFECT_HOME": str(tmp_path), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen([*command, "--port", str(port)], cwd=PROJECT, env=environment, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api", timeout=PATIENCE_SECONDS) as client:
            until(lambda: answers(client), every=0.5)
            yield client
    finally:
        server.terminate()
        server.wait()


@pytest.mark.long
def test_the_server_answers_while_many_ask(client: httpx.Client) -> None:
    """It stood still for a minute at a time, while SQLite waited for a lock that was for itself to give back."""
    flow = client.post("/flows/", json={"name": "a"}).json()["id"]
    client.post("/work_pools/", json={"name": "pool", "type": "process"})
    made = client.post("/deployments/", json={"name": "a", "flow_id": flow, "work_pool_name": "pool"}).json()["id"]
    end = time.monotonic() + 90
    longest: list[float] = []

    def ask(path: str, **more: object) -> httpx.Response:
        began = time.monotonic()
        answer = client.post(path, json=more)  # one that fails is tried again by whoever asks
        longest.append(time.monotonic() - began)
        return answer

    def run() -> None:
        while time.monotonic() < end:
            answer = ask(f"/deployments/{made}/create_flow_run")
            flow_run = answer.json()["id"] if answer.is_success else None
            for state in ("PENDING", "RUNNING", "COMPLETED") if flow_run else ():
                ask(f"/flow_runs/{flow_run}/set_state", state={"type": state})

    def poll() -> None:
        while time.monotonic() < end:
            ask("/work_pools/pool/get_scheduled_flow_runs")
            ask("/work_pools/pool/workers/heartbeat", name=threading.current_thread().name)

    threads = [threading.Thread(target=work) for work in (run, run, run, run, poll, poll, poll)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(longest) > 20 and max(longest) < 45
