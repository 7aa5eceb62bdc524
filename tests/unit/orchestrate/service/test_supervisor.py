"""What is started: with which environment, by which commands, from folders of any name, and not longer than wanted."""

import asyncio
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.settings.models.root import Settings as PrefectSettings
from supervisor.options import ClientOptions, ServerOptions

from flows.contract.spec import PROJECT
from flows.orchestrate.problems import api_url
from flows.orchestrate.service import deploy
from flows.orchestrate.service import supervisor as serve
from flows.settings import Settings
from tests.support.patience import until

ODD = "a b's 100%s"


@pytest.fixture(name="settings")
def settings_fixture(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / ODD)


def configured(settings: Settings) -> Any:
    """The configuration as supervisord understands it."""
    for folder in (settings.sockets, settings.logs):
        folder.mkdir(parents=True)
    file = settings.sockets / "supervisord.conf"
    file.write_text(serve.configuration(settings))
    options = ServerOptions()
    options.realize(["-c", str(file)])
    return options


def test_supervisord_takes_folders_of_any_name(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "the project %d"
    python = tmp_path / "the project %d" / "py thon"
    project.mkdir()
    monkeypatch.setattr(serve, "PROJECT", project)
    monkeypatch.setattr(sys, "executable", str(python))
    options = configured(settings)
    assert options.directory == str(project)
    assert options.pidfile == str(settings.sockets / "supervisord.pid")
    [unix] = options.server_configs
    assert unix["file"] == str(settings.sockets / "supervisor.sock")
    control = ClientOptions()
    control.realize(["-c", str(settings.sockets / "supervisord.conf")])
    assert control.serverurl == f"unix://{settings.sockets}/supervisor.sock"
    programs = {p.name: p for group in options.process_group_configs for p in group.process_configs}
    assert [*programs] == ["server", "warm", "worker", "watcher"]
    for name, program in programs.items():
        command = shlex.split(program.command)
        assert command[command.index(str(python)) + 1 :][:2] == ["-P", str(PROJECT / "flows" / "entry.py")]
        assert program.stdout_logfile == str(settings.logs / f"{name}.log")


def test_the_workers_command_takes_folders_of_any_name(settings: Settings) -> None:
    class Client:
        """Keeps what it is asked to make."""

        async def create_work_pool(self, pool: Any, overwrite: bool) -> None:
            self.pool = pool

    client = Client()
    asyncio.run(deploy._make_pool(client, settings))  # type: ignore[arg-type]
    command = client.pool.base_job_template["variables"]["properties"]["command"]["default"]
    python, dash_s, file, socket, module = shlex.split(command)
    assert (python, dash_s, module) == (sys.executable, "-S", "flows.orchestrate.service.engine")
    assert Path(file).name == "client.py"
    assert socket == str(settings.warm_socket)


def test_the_pages_ask_the_server_they_came_from(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _ui_api_url(serve.environment(settings, {}), monkeypatch) == "/api"


@pytest.mark.parametrize("name", ["PREFECT_UI_API_URL", "PREFECT_SERVER_UI_API_URL"])
def test_where_the_pages_ask_can_be_set_by_either_name(
    settings: Settings, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://tidemark.example/prefect/api"
    assert _ui_api_url(serve.environment(settings, {name: url}), monkeypatch) == url


def _ui_api_url(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str | None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return PrefectSettings().server.ui.api_url


def test_who_waits_for_the_warehouse_asks_again_within_about_a_second(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in serve.environment(settings, {}).items():
        monkeypatch.setenv(name, value)
    assert PrefectSettings().server.concurrency.maximum_concurrency_slot_wait_seconds == 1


@pytest.mark.skipif(not serve.ending_with_parent(), reason="this system's setpriv cannot do it")
def test_a_program_ends_when_its_supervisor_was_killed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    program = [*serve.ending_with_parent(), "sh", "-c", 'echo $$ > "$1"; exec sleep 3600', "sh", str(file)]
    parent = subprocess.Popen([sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])", *program])
    until(lambda: file.exists() and file.read_text().endswith("\n"))
    pid = int(file.read_text())
    parent.kill()
    parent.wait()
    try:
        until(lambda: not serve._is_alive(pid))
    finally:
        if serve._is_alive(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("10.1.2.3", "10.1.2.3"),
        ("tidemark.internal", "tidemark.internal"),
    ],
)
def test_the_server_is_asked_where_it_listens(
    host: str, here: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    listening = settings.model_copy(update={"server_host": host, "server_port": 4321})
    assert api_url(listening) == f"http://{here}:4321/api"


def test_the_servers_queue_rests() -> None:
    """The worker of Prefect's queue gets our intervals, or the server would look for work four times a second."""
    code = (
        "from prefect.server.api import background_workers as b; from flows.orchestrate.service import prefect_server; "
        "prefect_server.app = lambda: None; prefect_server.main(); from docket import Docket; "
        "w = b.Worker(Docket(name='d', url='memory://')); "
        "print(w.minimum_check_interval == w.scheduling_resolution == prefect_server.LOOK)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
