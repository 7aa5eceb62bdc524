"""Where keys come from, that they go nowhere else, and what is said when they are not as they must be."""

import shlex
import stat
import sys
from pathlib import Path

import pytest

from flows.errors import TidemarkError
from flows.keys import key_check, load_key
from flows.settings import Settings

SECRET = "a-canary-of-the-key-tests-0123456789"


def printing(text: str) -> str:
    """A command that prints a text and the name it was given."""
    program = f"import sys; sys.stdout.write({text!r} + sys.argv[-1])"
    return shlex.join([sys.executable, "-c", program])


def of(home: Path, **given: object) -> Settings:
    return Settings(**{"home": home, "pseudonym_key": None, "master_key": None} | given)  # type: ignore[arg-type]


def test_the_environment_comes_before_the_command_and_that_before_the_file(tmp_path: Path) -> None:
    made = load_key(of(tmp_path), "master", must_exist=False)
    by_command = of(tmp_path, key_command=printing(SECRET))
    assert load_key(by_command, "master", must_exist=True) == f"{SECRET}master".encode()
    given = of(tmp_path, key_command=printing(SECRET), master_key=SECRET)
    assert load_key(given, "master", must_exist=True) == SECRET.encode()
    assert load_key(given, "pseudonym", must_exist=True) == f"{SECRET}pseudonym".encode()
    assert load_key(of(tmp_path), "master", must_exist=True) == made
    assert len({key_check(key) for key in (made, SECRET.encode())}) == 2


def test_each_key_is_made_once_in_a_file_of_its_own(tmp_path: Path) -> None:
    keys = {name: load_key(of(tmp_path), name, must_exist=False) for name in ("pseudonym", "master")}  # type: ignore[arg-type]
    assert len(set(keys.values())) == 2
    for name, key in keys.items():
        path = of(tmp_path).key_file(name)
        assert path.read_bytes().strip() == key
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(path.name for path in path.parent.iterdir()) == ["master.key", "pseudonym.key"]


def test_a_key_that_others_may_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    load_key(of(tmp_path), "master", must_exist=False)
    path = of(tmp_path).key_file("master")
    path.chmod(0o640)
    with pytest.raises(TidemarkError, match=f"chmod 600 {path}"):
        load_key(of(tmp_path), "master", must_exist=True)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/no/such/command --get", "cannot be run"),
        (shlex.join([sys.executable, "-c", f"import sys; sys.stderr.write('{SECRET}'); sys.exit(7)"]), "exit code 7"),
        (shlex.join([sys.executable, "-c", f"print('{SECRET}'[:8])"]), "too short"),
        ("'not closed", "cannot be run"),
    ],
)
def test_a_command_that_gives_no_key_is_an_error_that_repeats_nothing_of_it(
    tmp_path: Path, command: str, said: str
) -> None:
    with pytest.raises(TidemarkError, match=said) as error:
        load_key(of(tmp_path, key_command=command), "master", must_exist=False)
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None
    assert not of(tmp_path).key_file("master").exists()


def test_a_missing_master_key_says_what_is_lost_without_it(tmp_path: Path) -> None:
    with pytest.raises(TidemarkError, match="nothing that was encrypted before could be read"):
        load_key(of(tmp_path), "master", must_exist=True)
    assert SECRET not in repr(of(tmp_path, master_key=SECRET))
