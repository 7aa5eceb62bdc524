"""A folder that is there whole or not at all, for its owner alone."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.errors import TidemarkError
from flows.privacy.private_folder import check_target, private_folder


@pytest.fixture(autouse=True)
def _open_by_default() -> Iterator[None]:
    before = os.umask(0o000)
    yield
    os.umask(before)


def test_it_is_there_whole_once_finished_and_for_its_owner_alone(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with private_folder(target) as folder:
        with folder.file("a.txt") as file:
            file.write("x")
        assert not target.exists()
        folder.finish()
    assert (target / "a.txt").read_text() == "x"
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert stat.S_IMODE((target / "a.txt").stat().st_mode) == 0o600
    assert [*tmp_path.iterdir()] == [target]


@pytest.mark.parametrize("fails", [True, False])
def test_nothing_stays_of_what_was_not_finished(tmp_path: Path, fails: bool) -> None:
    try:
        with private_folder(tmp_path / "out") as folder:
            folder.file("a.txt").close()
            if fails:
                raise ValueError
    except ValueError:
        pass
    assert [*tmp_path.iterdir()] == []


def test_what_a_killed_process_left_goes_with_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".out.partial"
    left.mkdir()
    (left / "old.csv").touch()
    (tmp_path / "out").mkdir()
    with private_folder(tmp_path / "out") as folder:
        folder.finish()
    assert [*(tmp_path / "out").iterdir()] == []
    assert not left.exists()


@pytest.mark.parametrize(
    ("name", "said"),
 [
        ("full", "is not empty"), ("file", "is no folder"), ("link", "is no folder"),
        ("none/out", "there is no folder"), ("home/out", "is in the home"),
    ],
)  # fmt: skip
def test_a_place_that_is_none_is_refused(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "file").touch()
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TidemarkError, match=said):
        check_target(tmp_path / name, tmp_path / "home")
    assert check_target(tmp_path / "new", tmp_path / "home") == tmp_path / "new"
