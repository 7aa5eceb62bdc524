"""A process that has everything imported and forks for each run: a run begins in a fifth of a second, not in five.

To import Prefect, dbt and DuckDB and to parse the project takes longer than to build an hour of events. So one process
does that once and waits on a socket; the client beside this file asks it to run a module, as ``python -m`` would.
Each run is a process of its own: it can be killed, and gives its memory back.

It forks runs of its own release alone. Once another is active, it takes no more of them, ends after the last of those
at work, and restarts as the other; runs that are wanted meanwhile do without it.

When the process forks, it has no threads of Python's and no database open: a fork copies one thread alone. It has
built one, in a folder of its own that is gone by then, before it took its first client. The threads of jemalloc, in
DuckDB and Arrow, see to themselves.
"""

import contextlib
import errno
import importlib
import json
import logging
import os
import random
import runpy
import selectors
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from flows.contract.spec import PROJECT
from flows.errors import TidemarkError
from flows.release.releases import active_path, is_outdated
from flows.rights import made_private, make_private
from flows.settings import Settings

# What runs need, and is slow to import. Not `flows.orchestrate.service.engine` itself: it is what is run.
IMPORTED = (
    "dbt.task.build",
    "dbt.task.test",
    "flows.orchestrate.prefect_flows",
    "prefect.artifacts",
    "prefect.client.orchestration",
    "prefect.concurrency.sync",
    "prefect.engine",
    "prefect.events",
    "prefect.flow_engine",
    "prefect.runner.storage",
    "prefect.task_engine",
)
# How often it is looked whether another release is active.
LOOK_SECONDS = 1.0
# The answer to a client of another release.
ANOTHER = b"another\n"


@dataclass
class _Run:
    """A forked process, and the client that waits for it."""

    pid: int
    client: socket.socket


def serve(settings: Settings) -> NoReturn:
    """Import and parse everything, then fork a process for each client until SIGTERM."""
    # Who comes meanwhile waits: to import the same itself would take as long, and the time of both.
    listener = listen(settings.warm_socket)
    import_everything(settings)
    print(f"warm: waiting on {settings.warm_socket}", flush=True)
    Host(listener, lambda: is_outdated(settings)).run()


def client_command(settings: Settings) -> list[str]:
    """What runs a module in a warm process, of the release that is active then; the module's name follows."""
    client = active_path(settings) / "flows" / "orchestrate" / "service" / "prefork" / "client.py"
    return [sys.executable, "-S", str(client), str(settings.warm_socket)]


def import_everything(settings: Settings) -> None:
    """Import what runs need and parse the project; a project that does not parse is for each run to report."""
    for module in IMPORTED:
        importlib.import_module(module)
    from prefect.logging.configuration import setup_logging  # noqa: PLC0415

    from flows.build.dbt import read_project  # noqa: PLC0415 (what is slow is imported here, and nothing before)

    with contextlib.suppress(TidemarkError):
        read_project(settings)
        rehearse(settings)
    logging.getLogger().handlers.clear()  # what was imported set up logging in its own way
    setup_logging(incremental=False)


def rehearse(settings: Settings) -> None:
    """Build the project once, of nothing and in a folder of its own: what dbt compiles on first use, runs then have.

    It takes a second off each build of a few days.
    """
    from flows.build.build import build  # noqa: PLC0415
    from flows.land.land import land  # noqa: PLC0415

    with TemporaryDirectory(prefix="tidemark-") as folder:
        nowhere = settings.model_copy(update={"home": Path(folder)})
        land(nowhere)
        build(nowhere)


class Host:
    """Forks a process for each client of ``listener``, and lets the client know how it ended.

    Once it ``is_outdated``, it only waits for the runs there are.
    """

    def __init__(self, listener: socket.socket, is_outdated: Callable[[], bool] = lambda: False) -> None:
        self._listener = listener
        self._is_outdated = is_outdated
        self._is_leaving = False
        self._runs: dict[socket.socket, _Run] = {}
        self._selector = selectors.DefaultSelector()
        # Runs read from this pipe, and it never has anything: it closes when this process is gone.
        self._alive_read, self._alive_write = os.pipe()

    def run(self) -> NoReturn:
        """Wait for clients, signals and the ends of runs."""
        wake_read, wake_write = socket.socketpair()
        wake_read.setblocking(False)
        wake_write.setblocking(False)
        signal.set_wakeup_fd(wake_write.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(wake_read, selectors.EVENT_READ)
        while not (self._is_leaving and not self._runs):
            for key, _ in self._selector.select(LOOK_SECONDS):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is wake_read:
                    with contextlib.suppress(BlockingIOError):
                        while wake_read.recv(4096):
                            pass
                elif isinstance(key.fileobj, socket.socket):
                    self._pass_signal(key.fileobj)
            self._reap()
            if not self._is_leaving and self._is_outdated():
                self._leave()
        sys.exit(0)

    def _leave(self) -> None:
        """Take no more clients: they find nobody, and run what they want themselves."""
        print(f"warm: another release is active; waiting for {len(self._runs)} runs to end", flush=True)
        self._is_leaving = True
        self._selector.unregister(self._listener)
        Path(self._listener.getsockname()).unlink(missing_ok=True)
        self._listener.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            asked, descriptors = _receive(client)
        except (OSError, ValueError) as error:
            print(f"warm: a client was not understood: {error}", file=sys.stderr, flush=True)
            client.close()
            return
        if asked["folder"] != str(PROJECT):  # it is of another release, and runs its own code itself
            with contextlib.suppress(OSError):
                client.sendall(ANOTHER)
            client.close()
            for descriptor in descriptors:
                os.close(descriptor)
            return
        sys.stdout.flush()
        try:
            pid = os.fork()
        except OSError as error:  # no memory or no more processes: that must not end the runs there are
            _refuse(client, descriptors, f"the warm process cannot start a run: {error}; it is tried again later\n")
            return
        if pid == 0:
            client.close()
            self._run_child(asked, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self._runs[client] = _Run(pid, client)
        self._selector.register(client, selectors.EVENT_READ)

    def _run_child(self, asked: dict[str, Any], descriptors: list[int]) -> NoReturn:
        """In the forked process: leave everything of the host behind, and run what was asked for."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            self._selector.close()
            self._listener.close()
            for run in self._runs.values():
                run.client.close()
            os.close(self._alive_write)
            threading.Thread(target=_die_with_host, args=(self._alive_read,), daemon=True).start()
            for target, descriptor in enumerate(descriptors):
                os.dup2(descriptor, target)
                os.close(descriptor)
            os.environ.clear()
            os.environ.update(asked["environment"])
            os.chdir(asked["folder"])
            random.seed()
            code = _run_module(asked["arguments"])
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _pass_signal(self, client: socket.socket) -> None:
        """What a client sends is the number of a signal; a client that went away takes its run with it."""
        try:
            sent = client.recv(64)
        except OSError:
            sent = b""
        run = self._runs[client]
        for number in sent or bytes([signal.SIGKILL]):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, number)
        if not sent:
            self._selector.unregister(client)

    def _reap(self) -> None:
        for client, run in list(self._runs.items()):
            pid, status = os.waitpid(run.pid, os.WNOHANG)
            if pid == 0:
                continue
            with contextlib.suppress(KeyError):
                self._selector.unregister(client)
            with contextlib.suppress(OSError):
                client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            client.close()
            del self._runs[client]


def _refuse(client: socket.socket, descriptors: list[int], why: str) -> None:
    """Let a client end with 1, having said why on its own standard error; nothing of it stays open here."""
    print(f"warm: {why}", end="", file=sys.stderr, flush=True)
    with contextlib.suppress(OSError, IndexError):
        os.write(descriptors[2], why.encode())
    with contextlib.suppress(OSError):
        client.sendall(b"1\n")
    for descriptor in descriptors:
        os.close(descriptor)
    client.close()


def _run_module(arguments: list[str]) -> int:
    sys.argv = list(arguments)
    sys.modules.pop(arguments[0], None)  # to run it is to run it again
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    finally:
        _wait_for_threads()
    return 0


def _wait_for_threads() -> None:
    """As an interpreter does at its end: what is on its way to the server, logs and events, gets there."""
    threading._shutdown()  # type: ignore[attr-defined]
    importlib.import_module("atexit")._run_exitfuncs()


def _die_with_host(alive: int) -> None:
    os.read(alive, 1)
    os.killpg(0, signal.SIGKILL)


def _receive(client: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """What a client asks for, a line of JSON, and its standard streams."""
    client.settimeout(5)
    text, descriptors, _, _ = socket.recv_fds(client, 65536, 3)
    while not text.endswith(b"\n"):
        more = client.recv(65536)
        if not more:
            raise OSError(errno.EPIPE, "it went away")
        text += more
    client.settimeout(None)
    return json.loads(text), list(descriptors)


def listen(path: Path) -> socket.socket:
    """A socket at ``path``, for its owner only."""
    make_private(path.parent)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        with made_private():
            listener.bind(str(path))
    except OSError as error:
        raise TidemarkError(f"no socket can be made at {path} ({error}); choose a shorter TIDEMARK_HOME") from error
    listener.listen(64)
    return listener


if __name__ == "__main__":
    serve(Settings())
