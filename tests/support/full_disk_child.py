"""Has Tidemark work on a disk that fills up: `tests.support.full_disk_child LAKE DISK MARTS LAND BUILD PUBLISH`.

A small disk is mounted at DISK, with a copy of the lake. Each step is tried with a few KiB left, then with room
again; what was said and found is printed as JSON. The marts, as they are in the end, are left in MARTS.
"""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

from flows.build.dbt import read_project
from flows.build.warehouse import open_warehouse, read_pending_work
from flows.publish.manifest import current_version
from flows.publish.publish import MANIFEST
from flows.settings import Settings
from tests.support.lake import Lake
from tests.support.lakes import marts_of, tidemark

lake, disk, marts = map(Path, sys.argv[1:4])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", disk], check=True)
home, ballast = disk / "home", disk / "ballast"
shutil.copytree(lake, home, symlinks=True)
settings = Settings(home=home)
before = current_version(settings), marts_of(settings)
# Parsed elsewhere: to look at the home must not fix it.
project = read_project(Settings(home=marts.with_name("parsed")))


def counts_as_built(output: str = "") -> tuple[bool, list[str]]:
    """Whether all that landed counts as built, and of what a build reported as failed that which counts as built."""
    with open_warehouse(settings, read_only=True) as warehouse:
        entered = warehouse.execute("select max(batch_id) from landed.landings").fetchone()
    pending = read_pending_work(settings, project)
    failed = {name for name in re.findall(r"^build .*\.(\w+)  error  ", output, re.MULTILINE) if name in project.models}
    # What is built again each time was good before, and is good.
    kept = {name for name in failed if project.models[name].materialized == "incremental" and not pending.everything}
    return pending.is_empty and entered == (len(Lake(home).receipts()),), sorted(kept - {*pending.outdated})


steps = {}
for name, free_kib in zip(("land", "build", "publish"), map(int, sys.argv[4:]), strict=True):
    room = os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - free_kib * 1024)
    failed = tidemark(home, name)
    as_it_was = (current_version(settings), marts_of(settings)) == before
    Lake(home).assert_whole(may_wait_to_be_told=True)
    left_behind = [str(f) for f in settings.published.glob("[0-9]*") if not (f / MANIFEST).exists()]
    ballast.unlink()
    is_built, counted_as_built = counts_as_built(failed.stdout + failed.stderr)
    healed = tidemark(home, name)
    steps[name] = {
        "code": failed.returncode,
        "said": failed.stdout + failed.stderr,
        "is_as_it_was": as_it_was,
        "left_behind": left_behind,
        "is_built": is_built,
        "counted_as_built": counted_as_built,
        "healed_code": healed.returncode,
        "healed_said": healed.stdout + healed.stderr,
        "healed_is_built": counts_as_built()[0],
    }
marts.write_bytes(pickle.dumps(marts_of(settings)))
print(json.dumps(steps))
