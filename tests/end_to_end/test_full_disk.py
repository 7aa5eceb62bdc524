"""A disk that is full while Tidemark lands, builds or publishes: reported in a line, nothing lost, healed by the next
try.

The disk is a real one, small, mounted for one process alone; where the system does not let anybody do that, there is
nothing to run here.
"""

import json
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows import sample
from flows.contract.spec import PROJECT
from tests.support.lakes import hold_back, marts_of, release
from tests.support.patience import PATIENCE_SECONDS
from tests.support.sample_lake import run_all, settings_of

OWN_MOUNTS = ("unshare", "--map-root-user", "--mount")
FULL = ("No space left on device", "disk is full", "disk I/O error")


def _may_mount() -> bool:
    if shutil.which(OWN_MOUNTS[0]) is None:
        return False
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"]
    return subprocess.run([*OWN_MOUNTS, *mount], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not _may_mount(), reason="this system lets no user mount a disk of their own")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake that was published, with a day that has not landed yet."""
    settings = settings_of(tmp_path_factory.mktemp("lake"))
    sample.generate(settings.home, 6_000, 3, 5)
    held = hold_back(settings, "2026-01-03")
    run_all(settings)
    release(held)
    return settings.home


@pytest.fixture(scope="module")
def whole(lake: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[object, ...]]]:
    """The marts of a lake whose disk was never full."""
    settings = settings_of(tmp_path_factory.mktemp("whole") / "home")
    shutil.copytree(lake, settings.home, symlinks=True)
    run_all(settings)
    return marts_of(settings)


# With nothing left a step fails at its beginning, with a little in the middle.
@pytest.mark.parametrize(
    "free_kib",
    [
        pytest.param((0, 0, 0), marks=pytest.mark.long, id="nothing"),
        pytest.param((200, 1_000, 400), id="a little"),
    ],
)
def test_a_full_disk_is_reported_loses_nothing_and_is_healed(
    lake: Path, whole: dict[str, list[tuple[object, ...]]], free_kib: tuple[int, ...], tmp_path: Path
) -> None:
    disk, marts = tmp_path / "disk", tmp_path / "marts.pickle"
    disk.mkdir()
    child = [
        sys.executable,
        "-m",
        "tests.support.full_disk_child",
        str(lake),
        str(disk),
        str(marts),
        *map(str, free_kib),
    ]
    done = subprocess.run(
        [*OWN_MOUNTS, *child], cwd=PROJECT, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 0, done.stderr
    steps: dict[str, dict[str, Any]] = json.loads(done.stdout)
    assert [*steps] == ["land", "build", "publish"]
    for name, step in steps.items():
        said = step["said"]
        assert step["code"] == 1, (name, said)
        # A line that says why, not buried: where dbt cannot write its log, a traceback per line would be a megabyte. A
        # build that came as far as its models names each that found no room; the others are built.
        models = "| *failed (model|seed|test) " if name == "build" else ""
        reported = re.search(f"^(error: {models})", said, re.MULTILINE)
        assert reported and any(text in said[reported.start() :] for text in FULL), (name, said)
        assert len(said) < 20_000, (name, said)
        assert step["is_as_it_was"], "readers saw something of a step that failed"
        assert step["counted_as_built"] == [], "what failed counts as built"
        assert step["healed_code"] == 0, (name, step["healed_said"])
    assert "what landed before is whole" in steps["land"]["said"]
    built = [(step["is_built"], step["healed_is_built"]) for step in steps.values()]
    assert built[1:] == [(False, True), (True, True)]
    assert "error: publishing stopped" in steps["publish"]["said"]
    assert steps["publish"]["left_behind"] == []
    assert pickle.loads(marts.read_bytes()) == whole


@pytest.mark.long
def test_an_erasure_on_a_full_disk_goes_on_where_there_is_room_again(lake: Path, tmp_path: Path) -> None:
    """With more and more room left it fails later and later; readers have what they had, or what is to be."""
    disk, marts = tmp_path / "disk", tmp_path / "marts.pickle"
    disk.mkdir()
    free_kib = ("0", "100", "400", "1500", "4000", "12000")
    child = [sys.executable, "-m", "tests.support.full_disk_erase_child", str(lake), str(disk), str(marts), "u-3"]
    done = subprocess.run(
        [*OWN_MOUNTS, *child, *free_kib],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["tries"][0]["code"] == 1
    for tried in found["tries"]:
        said = tried["said"]
        if tried["code"] == 0:
            continue
        assert any(text in said for text in FULL), said
        assert "Traceback" not in said and len(said) < 20_000, said
    states = [tried["state"] for tried in found["tries"]]
    assert all(tried["is_as_it_was"] for tried in found["tries"] if tried["state"] in ("received", "resolved")), states
    assert found["healed_code"] == 0, found["healed_said"]
    assert (found["state"], found["places"], found["findings"], found["left_behind"]) == ("proven", [], [], [])
    again = settings_of(tmp_path / "again" / "home")
    shutil.copytree(lake, again.home, symlinks=True)
    assert pickle.loads(marts.read_bytes()).keys() == marts_of(again).keys()
