"""Run a module in a process forked by :mod:`flows.service.warm`; where that does not answer, in this one.

    python -S flows/service/warm_client.py SOCKET MODULE [ARGUMENT...]

Streams, environment, folder, signals and exit code are those of this process, so that whoever started it need not know.
It imports next to nothing, so as to be quick.
"""

import json
import os
import signal
import socket
import sys


def main() -> None:
    """Ask for the run, pass signals on, and end as it ends."""
    path, *arguments = sys.argv[1:]
    host = socket.socket(socket.AF_UNIX)
    try:
        host.connect(path)
    except OSError:
        os.execv(sys.executable, [sys.executable, "-m", *arguments])
    asked = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}  # noqa: PTH109
    text = json.dumps(asked).encode() + b"\n"
    sent = socket.send_fds(host, [text], [0, 1, 2])
    host.sendall(text[sent:])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: host.sendall(bytes([number])))
    answer = host.recv(64)
    if not answer:
        sys.exit("the warm process is gone, and the run with it")
    code = int(answer)
    if code < 0:  # killed by a signal: so is this
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
