"""The secret keys: from the environment, a command or a file, in this order, and from nowhere else.

There are two. The *pseudonym* key makes the keyed hashes that stand for people and devices (flows/land/pseudonyms.py).
The *master* key locks the keys of days, which encrypt what may hold personal data in clear (flows/land/day_keys.py).
While the pseudonym key is being changed, the one that comes after it is a third (flows/land/rotation.py).
None is written anywhere but to its own file, and only where nothing else gives it.
"""

import hmac
import os
import secrets
import shlex
import subprocess
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from flows.errors import TidemarkError
from flows.files import sync_folder
from flows.rights import is_private, make_private, private_file
from flows.settings import Settings

Name = Literal["pseudonym", "pseudonym_next", "master"]

KEY_BYTES = 32
COMMAND_SECONDS = 60
# What would be lost with a key, for whoever is to decide whether to make another.
LOST = {
    "pseudonym": "a new key would make every device and person a stranger",
    "pseudonym_next": "rows that landed since the change of the key began have pseudonyms that were made with it",
    "master": "with a new key nothing that was encrypted before could be read",
}


def load_key(settings: Settings, name: Name, must_exist: bool) -> bytes:
    """The key of this name. Its file is made on first use, readable by its owner alone.

    ``must_exist`` says that something depends on the key already; its absence then raises :class:`TidemarkError`, as do
    a key that is too short, a command that fails, and a file that others may read.
    """
    if name == "pseudonym_next":
        _check_source(settings)
    given = _in_environment(settings, name)
    if given is not None:
        return _long_enough(given.get_secret_value().encode(), f"{variable_of(name)} is too short")
    if settings.key_command is not None:
        return _long_enough(
            _from_command(settings.key_command, name), f"the {name} key that TIDEMARK_KEY_COMMAND gave is too short"
        )
    path = settings.key_file(name)
    if path.exists():
        return _read(path)
    if must_exist:
        raise TidemarkError(
            f"the {name} key {path} is missing, and what is in the lake depends on it; restore it from your backup or "
            f"set {variable_of(name)}: {LOST[name]}"
        )
    return _make(path)


def variable_of(name: Name) -> str:
    """The environment variable that may give a key."""
    return {
        "pseudonym": "TIDEMARK_PSEUDONYM_KEY",
        "pseudonym_next": "TIDEMARK_PSEUDONYM_KEY_NEXT",
        "master": "TIDEMARK_MASTER_KEY",
    }[name]


def is_in_file(settings: Settings) -> bool:
    """Whether the pseudonym key is in a file of the home, so that another may be put in its place."""
    return settings.pseudonym_key is None and settings.key_command is None


def put_next_in_place(settings: Settings) -> None:
    """Let the file of the next pseudonym key take the place of the present one's, which is gone with that; nothing
    where it is done already."""
    path = settings.key_file("pseudonym_next")
    if path.exists():
        path.replace(settings.key_file("pseudonym"))
        sync_folder(path.parent)


def derived(master: bytes, purpose: str) -> bytes:
    """A key of 256 bits for one purpose, worked out from the master key (HKDF, RFC 5869), which may be text of any
    length. Who has the one learns nothing of the other, nor of a key for another purpose."""
    return HKDF(SHA256(), 32, salt=None, info=f"tidemark {purpose}".encode()).derive(master)


def key_check(key: bytes) -> str:
    """A check value that tells two keys apart and reveals neither: kept with what was made with the key."""
    return hmac.digest(key, b"tidemark key check value", "sha256").hex()[:12]


def _in_environment(settings: Settings, name: Name) -> SecretStr | None:
    given = {
        "pseudonym": settings.pseudonym_key,
        "pseudonym_next": settings.pseudonym_key_next,
        "master": settings.master_key,
    }
    return given[name]


def _check_source(settings: Settings) -> None:
    """The next key comes from where the present one does, or nobody could say where it is afterwards."""
    now, later = variable_of("pseudonym"), variable_of("pseudonym_next")
    if settings.pseudonym_key is not None and settings.pseudonym_key_next is None:
        raise TidemarkError(
            f"{now} gives the pseudonym key, so the next one is to be in {later}: set it, for example to what "
            "`openssl rand -hex 32` prints"
        )
    if settings.pseudonym_key is None and settings.pseudonym_key_next is not None:
        source = "the command of TIDEMARK_KEY_COMMAND" if settings.key_command else "its file"
        raise TidemarkError(
            f"{later} is set, and the pseudonym key comes from {source}, where the next one is to come from, too; "
            f"unset {later}"
        )


def _long_enough(key: bytes, fault: str) -> bytes:
    if len(key) < KEY_BYTES:
        raise TidemarkError(f"{fault}: give at least {KEY_BYTES} characters, for example from `openssl rand -hex 32`")
    return key


def _from_command(command: str, name: Name) -> bytes:
    """What a command prints that is given the key's name. What else it says may hold secrets, and is not repeated."""
    try:
        done = subprocess.run([*shlex.split(command), name], capture_output=True, timeout=COMMAND_SECONDS, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        why = "took too long" if isinstance(error, subprocess.TimeoutExpired) else f"cannot be run ({error})"
        raise TidemarkError(f"the command of TIDEMARK_KEY_COMMAND {why}; it is to print the {name} key") from None
    if done.returncode:
        raise TidemarkError(
            f"the command of TIDEMARK_KEY_COMMAND failed with exit code {done.returncode} when asked for the {name} "
            f"key; run it yourself, with {name!r} as its last argument, to see why"
        )
    return done.stdout.strip()


def _read(path: Path) -> bytes:
    if not is_private(path):
        raise TidemarkError(f"others than its owner may read the key {path}; run `chmod 600 {path}`")
    key = path.read_bytes().strip()
    if len(key) < KEY_BYTES:
        raise TidemarkError(f"the key {path} is damaged (too short); restore it from your backup")
    return key


def _make(path: Path) -> bytes:
    """Write a new key; another process that makes it at the same moment wins or loses whole."""
    write_once(path, secrets.token_hex(KEY_BYTES).encode() + b"\n")
    return _read(path)


def write_once(path: Path, data: bytes) -> None:
    """Write a file for its owner alone, whole and on the disk, unless it is there already."""
    make_private(path.parent)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = private_file(partial)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)
    except FileExistsError:
        pass
    finally:
        partial.unlink(missing_ok=True)
    # What is encrypted with it may not be on the disk before it.
    for folder in (path.parent, *path.parent.parents[:2]):
        sync_folder(folder)
