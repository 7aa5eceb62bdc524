"""Run a module in a process that the host beside this file forked; where that does not answer, in this one.

    python -S flows/orchestrate/service/prefork/client.py SOCKET MODULE [ARGUMENT...]

Streams, environment, signals and exit code are those of this process, so that whoever started it need not know. The
folder and the code are the project's that this file is of. It imports next to nothing, so as to be quick.
"""

import json
import os
import signal
import socket
import sys

# Where this file is in a project.
PLACE = "/flows/orchestrate/service/prefork/client.py"


def main() -> None:
    """Ask for the run, pass signals on, and end as it ends."""
    path, *arguments = sys.argv[1:]
    # The link to the active release may lead elsewhere in a moment: this run is wholly of the one it begins with.
    project = os.path.realpath(__file__).removesuffix(PLACE)
    os.chdir(project)
    others = [other for other in os.environ.get("PYTHONPATH", "").split(os.pathsep) if other not in ("", project)]
    os.environ["PYTHONPATH"] = os.pathsep.join([project, *others])
    host = socket.socket(socket.AF_UNIX)
    try:
        host.connect(path)
    except OSError:
        run_here(arguments)
    asked = {"arguments": arguments, "environment": dict(os.environ), "folder": project}
    text = json.dumps(asked).encode() + b"\n"
    sent = socket.send_fds(host, [text], [0, 1, 2])
    if sent < len(text):
        host.sendall(text[sent:])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: host.sendall(bytes([number])))
    answer = host.recv(64)
    if not answer:
        sys.exit("the warm process is gone, and the run with it")
    if answer == b"another\n":  # it is of another release
        run_here(arguments)
    code = int(answer)
    if code < 0:  # killed by a signal: so is this
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    sys.exit(code)


def run_here(arguments: list[str]) -> None:
    """Become the run."""
    os.execv(sys.executable, [sys.executable, "-m", *arguments])


if __name__ == "__main__":
    main()
