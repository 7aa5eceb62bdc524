"""Every mode and group is given in one place, and as it says."""

import ast
import grp
import os
import re
import socket
import stat
from pathlib import Path

import pytest

from flows.contract.spec import PROJECT
from flows.errors import TidemarkError
from flows.rights import (
    OF_EVERYBODY,
    PRIVATE,
    Rights,
    Visibility,
    give,
    has,
    is_open_to_others,
    is_private,
    made_private,
    make_for_everybody,
    make_inbox,
    make_private,
    narrower,
    private_file,
    published_rights,
)
from flows.settings import Settings

PUBLIC, INTERNAL, RESTRICTED = Visibility
GIVES = {"chmod", "chown", "lchmod", "fchmod", "fchown", "umask"}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def gives(code: str) -> list[str]:
    """What in a module is a mode, or gives one."""
    found = re.findall(r"\b0o[0-7]{3,4}\b", code)
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and node.attr in GIVES:
            found.append(node.attr)
    return found


def test_modes_and_groups_are_given_in_one_place() -> None:
    modules = {path.relative_to(PROJECT / "flows"): path for path in (PROJECT / "flows").rglob("*.py")}
    assert [str(name) for name, path in modules.items() if gives(path.read_text())] == ["rights.py"]


@pytest.mark.parametrize("code", ["os.chmod(a, b)", "a.chmod(b)", "a = 0o640", "os.umask(a)", "shutil.chown(a, b)"])
def test_what_gives_a_mode_is_found(code: str) -> None:
    assert gives(code)


def test_who_may_see_a_level_may_see_those_before_it() -> None:
    seen = {level: [table for table in Visibility if level.may_see(table)] for level in Visibility}
    assert seen == {
        PUBLIC: [PUBLIC],
        INTERNAL: [PUBLIC, INTERNAL],
        RESTRICTED: [PUBLIC, INTERNAL, RESTRICTED],
    }
    assert narrower(PUBLIC, RESTRICTED, INTERNAL) == narrower(RESTRICTED) == RESTRICTED
    assert narrower(INTERNAL, PUBLIC) == INTERNAL


@pytest.mark.parametrize(
    ("internal", "restricted", "groups"),
    [
        (None, None, (None, None)),
        ("staff", None, ("staff", None)),
        (None, "few", ("few", "few")),
        ("staff", "few", ("staff", "few")),
    ],
)
def test_a_level_is_its_groups_or_its_owners_alone(
    internal: str | None, restricted: str | None, groups: tuple[str | None, str | None]
) -> None:
    settings = Settings(group_internal=internal, group_restricted=restricted)
    assert published_rights(settings, PUBLIC) == OF_EVERYBODY
    for level, group in zip((INTERNAL, RESTRICTED), groups, strict=True):
        rights = published_rights(settings, level)
        assert rights == (Rights(0o440, 0o750, group) if group else Rights(0o400, 0o700))
        assert not (rights.file | rights.folder) & 0o007
        assert not rights.file & 0o222


def test_rights_are_given_to_files_and_folders(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.touch()
    folder.mkdir()
    own = grp.getgrgid(os.getgid()).gr_name
    for rights in (Rights(0o400, 0o700), Rights(0o440, 0o750, own), OF_EVERYBODY, Rights(0o400, 0o700)):
        for path in (file, folder):
            give(path, rights)
            assert has(path, rights)
        assert (mode(file), mode(folder)) == (rights.file, rights.folder)
    assert not has(file, OF_EVERYBODY) and not has(folder, OF_EVERYBODY)


def test_what_is_in_another_group_has_not_the_rights(tmp_path: Path) -> None:
    other = next(group.gr_name for group in grp.getgrall() if group.gr_gid != tmp_path.stat().st_gid)
    tmp_path.chmod(0o750)
    assert not has(tmp_path, Rights(0o440, 0o750, other))
    assert has(tmp_path, Rights(0o440, 0o750))


def test_a_group_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TidemarkError, match="there is no group nobody-has-it, which TIDEMARK_GROUP_INTERNAL"):
        give(tmp_path, Rights(0o440, 0o750, "nobody-has-it"))


def test_a_group_that_cannot_be_given_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    other = next(group.gr_name for group in grp.getgrall() if group.gr_gid != tmp_path.stat().st_gid)
    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(TidemarkError, match=rf"cannot be given to the group {other} .*`usermod -aG {other} "):
        give(tmp_path, Rights(0o440, 0o750, other))


def test_private_folders_are_private_whatever_the_umask_and_those_of_before_are_closed_to_others(
    tmp_path: Path,
) -> None:
    before = os.umask(0)
    try:
        make_private(tmp_path / "a", "b", "c")
        (tmp_path / "old").mkdir(mode=0o775)
        make_private(tmp_path / "old", "b")
    finally:
        os.umask(before)
    for path in (tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/c", tmp_path / "old/b"):
        assert mode(path) == PRIVATE.folder and is_private(path)
    # Its group was given its rights by somebody.
    assert mode(tmp_path / "old") == 0o770
    assert not is_open_to_others(tmp_path / "old") and not is_private(tmp_path / "old")


def test_an_inbox_that_is_there_keeps_its_rights(tmp_path: Path) -> None:
    make_inbox(tmp_path / "lake/inbox")
    assert mode(tmp_path / "lake/inbox") == 0o700
    (tmp_path / "lake/inbox").chmod(0o773)
    make_inbox(tmp_path / "lake/inbox")
    assert mode(tmp_path / "lake/inbox") == 0o773


def test_what_is_published_can_be_reached_unless_somebody_closed_it(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        make_for_everybody(tmp_path / "published")
    finally:
        os.umask(before)
    assert mode(tmp_path / "published") == 0o755
    (tmp_path / "published").chmod(0o750)
    make_for_everybody(tmp_path / "published")
    assert mode(tmp_path / "published") == 0o750


def test_private_files_and_sockets_are_private_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket may not be long
    before = os.umask(0)
    try:
        os.close(private_file(tmp_path / "file"))
        with made_private(), socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
        with pytest.raises(FileExistsError):
            private_file(tmp_path / "file")
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") == mode(tmp_path / "socket") == PRIVATE.file
