"""Has Tidemark work on a disk that fills up: `tests.full_disk_child LAKE DISK MARTS LAND BUILD PUBLISH`.

A small disk is mounted at DISK, with a copy of the lake. Each step is tried with so many KiB left, then with room
again; what was said and found is printed as JSON. The marts, as they are in the end, are left in MARTS.
"""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

from flows.publish import MANIFEST, current_version
from flows.settings import Settings
from tests.end_to_end.test_lakes import marts_of, tidemark

lake, disk, marts = map(Path, sys.argv[1:4])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", disk], check=True)
home, ballast = disk / "home", disk / "ballast"
shutil.copytree(lake, home, symlinks=True)
settings = Settings(home=home)
before = current_version(settings), marts_of(settings)

steps = {}
for name, free_kib in zip(("land", "build", "publish"), map(int, sys.argv[4:]), strict=True):
    room = os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - free_kib * 1024)
    failed = tidemark(home, name)
    as_it_was = (current_version(settings), marts_of(settings)) == before
    left_behind = [str(f) for f in settings.published.glob("[0-9]*") if not (f / MANIFEST).exists()]
    ballast.unlink()
    healed = tidemark(home, name)
    steps[name] = {
        "code": failed.returncode,
        "said": failed.stdout + failed.stderr,
        "is_as_it_was": as_it_was,
        "left_behind": left_behind,
        "healed_code": healed.returncode,
        "healed_said": healed.stdout + healed.stderr,
    }
marts.write_bytes(pickle.dumps(marts_of(settings)))
print(json.dumps(steps))
