"""Start and stop all of Tidemark on one machine: server, warm process, worker, watcher and site, kept up by
supervisord."""

import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from flows.contract.spec import PROJECT
from flows.errors import TidemarkError
from flows.orchestrate.problems import api_url
from flows.orchestrate.service.watcher import server_error
from flows.release.releases import active_path
from flows.rights import PRIVATE, make_inbox, make_private
from flows.settings import Settings

READY_SECONDS = 120
STOP_SECONDS = 90
# The server's background services look for work every few seconds; with one worker and few jobs a minute is enough.
SLOWER = {
    f"PREFECT_SERVER_SERVICES_{name}_LOOP_SECONDS": "60"
    for name in (
        "CANCELLATION_CLEANUP",
        "CLEANUP_RECONCILER",
        "FOREMAN",
        "LATE_RUNS",
        "PAUSE_EXPIRATIONS",
        "SCHEDULER_RECENT_DEPLOYMENTS",
        "TRIGGERS_EVENTS_CLEANUP",
    )
}


def environment(settings: Settings, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of all that is started: what is ``given``, and what that leaves open of Prefect's settings."""
    home = settings.home.resolve()
    ours = {
        "TIDEMARK_HOME": str(home),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": api_url(settings),
        # A path: a browser then asks where it has the pages from, through whatever proxy, and not its own machine.
        "PREFECT_UI_API_URL": "/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # Leases survive a restart of the server, or the slot of whoever writes would never be free again.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # Who waits for the warehouse asks again after about that, and not after 30 s in which nobody writes.
        "PREFECT_SERVER_CONCURRENCY_MAXIMUM_CONCURRENCY_SLOT_WAIT_SECONDS": "1",
        # The worker looks when it is notified of work; this is for what it was not notified of.
        "PREFECT_WORKER_QUERY_SECONDS": "30",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "15",
        "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT60S",
        "PREFECT_LOGGING_SETTINGS_PATH": str(Path(__file__).with_name("logging.yml")),
        "PREFECT_CLI_PROMPT": "false",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), given.get("PYTHONPATH")])),
        **SLOWER,
    }
    return {**ours, **given, "PYTHONPATH": ours["PYTHONPATH"], "TIDEMARK_HOME": ours["TIDEMARK_HOME"]}


def configuration(settings: Settings) -> str:
    """The configuration of supervisord: what runs, in which order, and where its logs go."""
    address = ["--host", settings.server_host, "--port", str(settings.server_port)]
    programs = {
        "server": ["flows.orchestrate.service.prefect_server", "server", "start", *address],
        "warm": ["flows.orchestrate.service.prefork.host"],
        "worker": ["flows.orchestrate.service.worker"],
        "watcher": ["flows.orchestrate.service.watcher"],
    }
    if settings.site:
        programs["site"] = ["flows.site.serve"]
    folder, logs = _escaped(settings.sockets), _escaped(settings.logs.resolve())
    sections = [
        f"""[supervisord]
directory={_escaped(PROJECT)}
logfile={logs}/supervisord.log
logfile_maxbytes=10MB
logfile_backups=3
pidfile={folder}/supervisord.pid
childlogdir={logs}

[unix_http_server]
file={folder}/supervisor.sock
chmod={PRIVATE.file:04o}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{folder}/supervisor.sock
"""
    ]
    # The log of a program is escaped once more: in that alone supervisord looks for variables twice.
    for priority, (name, module) in enumerate(programs.items(), 1):
        # By a path that leads to the release that is active when the program starts, and by that to its code.
        entry = str(active_path(settings) / "flows" / "entry.py")
        command = shlex.join([*ending_with_parent(), sys.executable, "-P", entry, *module])
        sections.append(
            f"""[program:{name}]
command={_escaped(command)}
priority={priority}
autorestart=true
startsecs=3
startretries=1000000
stopwaitsecs=20
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={_escaped(logs)}/{name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=5
"""
        )
    return "\n".join(sections)


def _escaped(value: object) -> str:
    """As it is written for supervisord, to which ``%`` begins the name of a variable."""
    return str(value).replace("%", "%%")


@cache
def ending_with_parent() -> tuple[str, ...]:
    """What a command begins with to be ended when supervisord is gone; nothing where the system's cannot do it.

    Otherwise the programs of a killed supervisord would live on, and `tidemark stop` could not find them.
    """
    setpriv = shutil.which("setpriv")
    if not setpriv:
        return ()
    said = subprocess.run([setpriv, "--help"], capture_output=True, text=True, check=False).stdout
    return (setpriv, "--pdeathsig", "TERM", "--") if "--pdeathsig" in said else ()


def serve(settings: Settings, foreground: bool = False) -> str:
    """Start everything, and give the address of the user interface once the server answers.

    In the ``foreground`` this process becomes supervisord, for systemd and containers. Raises :class:`TidemarkError`
    where it runs already or does not come up.
    """
    if is_served(settings):
        raise TidemarkError(f"it is already being served: {ui_url(settings)}; `tidemark stop` stops it")
    ports = {"server": settings.server_port, **({"site": settings.site_port} if settings.site else {})}
    for name, port in ports.items():
        if error := _port_error(settings.server_host, port):
            raise TidemarkError(
                f"the {name} cannot listen on {settings.server_host}, port {port} ({error}); stop what does, or choose "
                f"another port: TIDEMARK_{name.upper()}_PORT"
            )
    for folder in (settings.sockets, settings.logs, settings.jobs):
        make_private(folder)
    make_inbox(settings.inbox)
    path = _configuration_file(settings)
    path.write_text(configuration(settings))
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(path)]
    variables = environment(settings, os.environ)
    if foreground:
        os.execve(sys.executable, [*command, "--nodaemon"], variables)
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TidemarkError(f"supervisord did not start: {(done.stderr or done.stdout).strip()}")
    _wake_supervisor(settings)
    _wait_until_ready(settings)
    return ui_url(settings)


def _port_error(host: str, port: int) -> str | None:
    """Why nothing could listen there, as where another program does, whatever that speaks; None where it could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _wake_supervisor(settings: Settings) -> None:
    """Have supervisord start its programs now: it would wait for a second first, or for somebody to knock."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(settings.sockets / "supervisor.sock"))


def _wait_until_ready(settings: Settings) -> None:
    until = time.monotonic() + READY_SECONDS
    while error := server_error(settings) or (None if settings.warm_socket.exists() else "the warm process begins"):
        if time.monotonic() > until:
            raise TidemarkError(
                f"after {READY_SECONDS} s: {error}; see {settings.logs}/server.log; `tidemark stop` stops what started"
            )
        time.sleep(0.3)


def stop(settings: Settings) -> None:
    """Stop everything that :func:`serve` started; runs at work are killed, and healed by the next.

    Raises :class:`TidemarkError` where nothing runs.
    """
    if not is_served(settings):
        raise TidemarkError(f"nothing is being served from {settings.home}")
    pid = int(_control(settings, "pid").stdout)
    _control(settings, "shutdown")
    until = time.monotonic() + STOP_SECONDS
    while _is_alive(pid):
        if time.monotonic() > until:
            raise TidemarkError(f"supervisord, process {pid}, does not stop; see {settings.logs}/supervisord.log")
        time.sleep(0.1)


def is_served(settings: Settings) -> bool:
    """Whether the supervisor of this home runs."""
    return _configuration_file(settings).exists() and _control(settings, "pid").returncode == 0


def programs(settings: Settings) -> list[str]:
    """A line for each program: its name, how it stands, since when."""
    return _control(settings, "status").stdout.splitlines() if is_served(settings) else []


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def ui_url(settings: Settings) -> str:
    """The address of the user interface."""
    return os.environ.get("PREFECT_UI_URL") or api_url(settings).removesuffix("/api")


def _control(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(_configuration_file(settings)), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _configuration_file(settings: Settings) -> Path:
    return settings.sockets / "supervisord.conf"
