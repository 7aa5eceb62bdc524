"""A run in the warm process is to whoever started it as one of its own: streams, signals, exit codes, and its end."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.contract.spec import PROJECT
from flows.processes import process_mark
from tests.support.patience import PATIENCE_SECONDS, until

CLIENT = PROJECT / "flows" / "orchestrate" / "service" / "prefork" / "client.py"
# How a client ends that would run it itself where the host is to.
BY_ITSELF = 99
HOST = (
    "import pathlib, sys; from flows.orchestrate.service.prefork.host import Host, listen;"
    "Host(listen(pathlib.Path(sys.argv[1]))).run()"
)
# Of whose forks the first fails, as where the machine has no more processes or memory.
FORKLESS = (
    "import errno, itertools, os; fork = os.fork; tries = itertools.count();\n"
    "def fails():\n"
    "    if next(tries) == 0: raise OSError(errno.EAGAIN, 'Resource temporarily unavailable')\n"
    "    return fork()\n"
    "os.fork = fails\n"
)
# Which finds another release active once a file is beside its socket.
FOLLOWING = (
    "import pathlib, sys; from flows.orchestrate.service.prefork import host; host.LOOK_SECONDS = 0.05;"
    "path = pathlib.Path(sys.argv[1]); host.Host(host.listen(path), path.with_name('another').exists).run()"
)


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "warm.sock"


@pytest.fixture
def host(socket: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The warm process; meanwhile a client cannot run anything itself."""
    socket.with_name("sitecustomize.py").write_text(f"import os\nos._exit({BY_ITSELF})\n")
    process = subprocess.Popen([sys.executable, "-c", HOST, str(socket)], cwd=PROJECT)
    until(socket.exists)
    yield process
    process.kill()
    process.wait()


def client(socket: Path, *arguments: str, said: str = "", **more: object) -> subprocess.Popen[str]:
    """A run asked for. Python imports what lies beside the socket as it starts, but for this client with its -S."""
    command = [sys.executable, "-S", str(CLIENT), str(socket), "tests.support.prefork_child", *arguments]
    environment = os.environ | {"SAID": said, "PYTHONPATH": str(socket.parent)}
    return subprocess.Popen(command, cwd=PROJECT, env=environment, text=True, **more)  # type: ignore[call-overload,no-any-return]


def sleeper(socket: Path, tmp_path: Path) -> tuple[subprocess.Popen[str], int]:
    """A run that sleeps, and its process."""
    file = tmp_path / "pid"
    run = client(socket, "sleep", str(file))
    until(lambda: file.exists() and file.read_text() != "")
    pid = int(file.read_text())
    assert pid != run.pid, "it ran in the client itself"
    return run, pid


def is_alive(pid: int) -> bool:
    """Whether a process runs: one that ended and was not buried does not."""
    return process_mark(pid) is not None


def test_streams_environment_and_folder_are_the_clients(host: subprocess.Popen[bytes], socket: Path) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    run = client(socket, "say", said="tide", **pipes)
    said, error = run.communicate("in", timeout=PATIENCE_SECONDS)
    word, folder, text, pid = said.split()
    assert (word, folder, text) == ("tide", str(PROJECT), "in")
    assert int(pid) not in (host.pid, run.pid)
    assert error == "and this\n"
    assert run.returncode == 0


def test_exit_codes_are_the_clients(host: subprocess.Popen[bytes], socket: Path) -> None:
    runs = [client(socket, "exit", str(code)) for code in (0, 3, 42)]
    assert [run.wait(PATIENCE_SECONDS) for run in runs] == [0, 3, 42]


def test_an_error_is_reported_and_ends_with_one(host: subprocess.Popen[bytes], socket: Path) -> None:
    run = client(socket, "fail", stderr=subprocess.PIPE)
    _, error = run.communicate(timeout=PATIENCE_SECONDS)
    assert "ValueError: as it should" in error
    assert run.returncode == 1


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc to count descriptors in")
def test_a_fork_that_fails_is_reported_and_ends_neither_the_host_nor_other_runs(socket: Path, tmp_path: Path) -> None:
    host = subprocess.Popen([sys.executable, "-c", FORKLESS + HOST, str(socket)], cwd=PROJECT)
    try:
        until(socket.exists)
        open_before = len(list(Path(f"/proc/{host.pid}/fd").iterdir()))
        run = client(socket, "exit", "0", stderr=subprocess.PIPE)
        _, error = run.communicate(timeout=PATIENCE_SECONDS)
        assert run.returncode == 1
        assert "Resource temporarily unavailable" in error
        assert len(list(Path(f"/proc/{host.pid}/fd").iterdir())) == open_before
        assert client(socket, "exit", "3").wait(PATIENCE_SECONDS) == 3
        assert host.poll() is None
    finally:
        host.kill()
        host.wait()


def test_a_signal_is_passed_on(host: subprocess.Popen[bytes], socket: Path, tmp_path: Path) -> None:
    run, pid = sleeper(socket, tmp_path)
    run.terminate()
    assert run.wait(PATIENCE_SECONDS) == 7
    assert not is_alive(pid)


def test_a_run_that_is_killed_looks_killed(host: subprocess.Popen[bytes], socket: Path, tmp_path: Path) -> None:
    run, pid = sleeper(socket, tmp_path)
    os.kill(pid, signal.SIGKILL)
    assert run.wait(PATIENCE_SECONDS) == -signal.SIGKILL


def test_a_killed_client_takes_its_run_with_it(host: subprocess.Popen[bytes], socket: Path, tmp_path: Path) -> None:
    run, pid = sleeper(socket, tmp_path)
    run.kill()
    run.wait(PATIENCE_SECONDS)
    until(lambda: not is_alive(pid))


def test_a_killed_host_takes_its_runs_with_it(host: subprocess.Popen[bytes], socket: Path, tmp_path: Path) -> None:
    run, pid = sleeper(socket, tmp_path)
    host.kill()
    assert run.wait(PATIENCE_SECONDS) != 0
    until(lambda: not is_alive(pid))


def test_without_a_host_the_client_runs_it_itself(socket: Path) -> None:
    assert client(socket, "exit", "5").wait(PATIENCE_SECONDS) == 5


def test_a_new_host_takes_the_place_of_a_killed_one(
    host: subprocess.Popen[bytes], socket: Path, tmp_path: Path
) -> None:
    host.kill()
    host.wait()
    left = socket.stat().st_ctime_ns
    again = subprocess.Popen([sys.executable, "-c", HOST, str(socket)], cwd=PROJECT)
    try:
        until(lambda: socket.exists() and socket.stat().st_ctime_ns != left)
        run, _ = sleeper(socket, tmp_path)
        run.kill()
    finally:
        again.kill()
        again.wait()


def test_a_host_of_an_earlier_release_takes_no_more_runs_and_ends_after_those_it_has(
    socket: Path, tmp_path: Path
) -> None:
    host = subprocess.Popen([sys.executable, "-c", FOLLOWING, str(socket)], cwd=PROJECT)
    try:
        until(socket.exists)
        run, pid = sleeper(socket, tmp_path)
        socket.with_name("another").touch()
        until(lambda: not socket.exists())
        assert client(socket, "exit", "5").wait(PATIENCE_SECONDS) == 5, "it runs itself, and does not wait"
        assert host.poll() is None and is_alive(pid)
        run.terminate()
        assert run.wait(PATIENCE_SECONDS) == 7
        assert host.wait(PATIENCE_SECONDS) == 0
    finally:
        host.kill()
        host.wait()


def test_a_client_of_another_release_runs_its_own_code(
    host: subprocess.Popen[bytes], socket: Path, tmp_path: Path
) -> None:
    other = tmp_path / "another"
    for name in ("flows/orchestrate/service/prefork/client.py", "tests/support/prefork_child.py"):
        (other / name).parent.mkdir(parents=True)
        shutil.copy(PROJECT / name, other / name)
    command = [
        sys.executable,
        "-S",
        str(other / "flows" / "orchestrate" / "service" / "prefork" / "client.py"),
        str(socket),
    ]
    environment = os.environ | {"SAID": "tide", "PYTHONPATH": str(PROJECT)}
    run = subprocess.Popen(
        [*command, "tests.support.prefork_child", "say"],
        cwd=PROJECT,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    said, _ = run.communicate(timeout=PATIENCE_SECONDS)
    word, folder, pid = said.split()
    assert (word, folder, int(pid)) == ("tide", str(other), run.pid)
    assert host.poll() is None


def test_many_at_once(host: subprocess.Popen[bytes], socket: Path) -> None:
    runs = [client(socket, "exit", str(number % 50)) for number in range(100)]
    assert [run.wait(PATIENCE_SECONDS) for run in runs] == [number % 50 for number in range(100)]
