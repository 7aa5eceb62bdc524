"""What the tests of the warm process have it run: `tests.support.prefork_child exit CODE`, `say`, or `sleep FILE`."""

import os
import signal
import sys
import time
from pathlib import Path

match sys.argv[1:]:
    case ["exit", code]:
        sys.exit(int(code))
    case ["say"]:
        print(os.environ["SAID"], Path.cwd(), sys.stdin.read(), os.getpid())
        print("and this", file=sys.stderr)
    case ["fail"]:
        raise ValueError("as it should")
    case ["sleep", file]:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        Path(file).write_text(str(os.getpid()))
        time.sleep(60)
