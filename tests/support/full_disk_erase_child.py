"""Erases somebody on a disk that is full: `tests.support.full_disk_erase_child LAKE DISK MARTS USER FREE_KIB...`.

A small disk is mounted at DISK, with a copy of the lake. The erasure is tried with so many KiB left, time after time,
then with room again; what was said and found is printed as JSON. The marts, as they are in the end, are left in MARTS.
"""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

from flows.audit.audit import audit
from flows.land.pseudonyms import Kind
from flows.privacy.identity import Given
from flows.privacy.requests import Queue
from flows.settings import Settings
from tests.support.erased import key_in, places_of
from tests.support.lakes import marts_of, tidemark

lake, disk, marts, user = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", disk], check=True)
home, ballast = disk / "home", disk / "ballast"
shutil.copytree(lake, home, symlinks=True)
settings = Settings(home=home, settle_seconds=0)
before = marts_of(settings)
Queue(settings).receive([(Given(Kind.USER, user),)], with_shared=False)
tries = []
for free_kib in map(int, sys.argv[5:]):
    room = os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(0, room.f_bavail * room.f_frsize - free_kib * 1024))
    failed = tidemark(home, "erase")
    ballast.unlink()
    tries.append(
        {
            "code": failed.returncode,
            "said": failed.stdout + failed.stderr,
            "state": Queue(settings).all()[0].state,
            "is_as_it_was": marts_of(settings) == before,
        }
    )
healed = tidemark(home, "erase")
(request,) = Queue(settings).all()
marts.write_bytes(pickle.dumps(marts_of(settings)))
found = {
    "tries": tries,
    "healed_code": healed.returncode,
    "healed_said": healed.stdout + healed.stderr,
    "state": request.state,
    "places": places_of(settings, {key_in(settings, Kind.USER, user)}),
    "findings": [str(finding) for finding in audit(settings).findings],
    "left_behind": [str(path) for path in home.rglob(".*") if path.name.endswith((".rewritten.wal", ".partial"))],
}
print(json.dumps(found))
