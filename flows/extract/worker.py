"""The process of one extract: reads a source, delivers files, and says on its standard output what it does.

A line is a JSON object: ``delivered`` a file, ``note`` for people, ``error`` as the last one, with ``may_pass`` where
another try may help. It is a process of its own, since a driver of a database may end the one it is in, and so that the
address of the source, which has a password, stands in no argument and in no message.
"""

import json
import os
import re
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from urllib.parse import unquote

from flows.contract.spec import load_specs
from flows.errors import TidemarkError
from flows.extract.declared import DeclaredSource, load_declared
from flows.extract.delivery import Folder
from flows.extract.errors import MayPassError
from flows.locks import held
from flows.settings import Settings

HIDDEN = "***"
# In a URL before the host, in its query, or in a list of words, as PostgreSQL takes them.
PASSWORD = re.compile(r"(?<=:)[^:@/]+(?=@)|(?<=password=)[^\s&]+")


def main(arguments: Sequence[str]) -> int:
    """Extract the datasets named after their source."""
    source, *datasets = arguments
    url = None
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.setdefault("PGCONNECT_TIMEOUT", "30")  # seconds
    try:
        settings = Settings()
        declared = load_declared(settings.extracts).one(source)
        url = address_of(declared)
        # Held here, and not by whoever started this: as long as this process is there, no other delivers.
        with held(settings.lake / f".extract.{source}.lock", f"extracting {source}"):
            _extract(settings, declared, datasets, url)
    except Exception as error:  # whatever a driver raises is said, without what is secret
        text = str(error) if isinstance(error, TidemarkError) else f"{type(error).__name__}: {error}"
        _say(error=without_secrets(text, url), may_pass=isinstance(error, MayPassError))
        return 1
    return 0


def address_of(declared: DeclaredSource) -> str:
    """The URL of a source. Raises :class:`TidemarkError` where its variable is not set."""
    name = declared.source.connection.url_from
    url = os.environ.get(name)
    if url and (wrong := _wrong_address(url)):
        raise TidemarkError(f"{declared.name}: {name} {wrong}")
    if not url:
        raise TidemarkError(
            f"{declared.name}: {name} is not set; set it to the address of the source, with its password"
        )
    return url


def _wrong_address(url: str) -> str | None:
    """Why a driver would take a part of a password for something else, and say it; nothing of it is said here."""
    scheme, is_url, rest = url.partition("://")
    if not is_url:
        return None if "=" in url else "is no address: write postgresql://USER:PASSWORD@HOST/DATABASE"
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not scheme.startswith("postgres") or rest.count("@") > 1 or ("@" in rest and "@" not in authority):
        return "is no address: in its password write / @ # ? : as %2F %40 %23 %3F %3A"
    return None


def without_secrets(text: str, url: str | None) -> str:
    """The text without the address, and without the password in it, however that is written."""
    if not url:
        return text
    text = text.replace(url, HIDDEN)
    for password in PASSWORD.findall(url):
        for secret in {password, unquote(password)}:
            text = text.replace(secret, HIDDEN)
    return text


def _extract(settings: Settings, declared: DeclaredSource, datasets: Sequence[str], url: str) -> None:
    """Extract these in one snapshot; where one fails, those after it are of another, and all that failed is raised."""
    from flows.extract.postgres import connected, extract_table  # noqa: PLC0415 (it may not import)

    left, specs, failed = [*datasets], load_specs(), []
    while left:
        with connected(settings, url) as database:
            while left:
                dataset = left.pop(0)
                name, table = f"{declared.name}.{dataset}", declared.source.extracts[dataset]
                folder = Folder(settings, declared.name, dataset, table)
                try:
                    for file in extract_table(database, folder, name, table, specs[dataset], _note):
                        _say(delivered=asdict(file))
                except MayPassError:
                    raise
                except TidemarkError as error:  # the server answers nothing more in a transaction that failed
                    said = str(error)
                    failed.append(said if said.startswith(name) else f"{name}: {said}")
                    break
    if failed:
        raise TidemarkError("; ".join(failed))


def _end_with_parent() -> None:
    """End once whoever started this is gone: its end of the standard input closes."""
    while os.read(0, 1):  # no buffer, which would hold a lock as this process ends
        pass
    os._exit(1)


def _note(text: str) -> None:
    _say(note=text)


def _say(**line: object) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
