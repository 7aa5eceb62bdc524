"""The process of one extract: reads a source, delivers files, and says on its standard output what it does.

A line is a JSON object: ``delivered`` a file, ``note`` for people, ``error`` as the last one, with ``may_pass`` where
another try may help. It is a process of its own, since a driver of a database may end the one it is in, and so that the
address of the source, which has a password, stands in no argument and in no message.
"""

import importlib
import json
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace

from flows.errors import TidemarkError
from flows.extract.declared import load_declared
from flows.extract.errors import MayPassError
from flows.locks import held
from flows.settings import Settings

HIDDEN = "***"


def main(arguments: Sequence[str]) -> int:
    """Extract the datasets named after their source; with ``--accept_deletes`` or ``--from_the_beginning`` so."""
    source, *asked = arguments
    datasets = [name for name in asked if not name.startswith("--")]
    secrets: list[str] = []
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        settings = Settings()
        declared = replace(
            load_declared(settings.extracts).one(source),
            accepts_deletes="--accept_deletes" in asked,
            from_the_beginning="--from_the_beginning" in asked,
        )
        secrets += declared.source.connection.secrets()
        # Held here, and not by whoever started this: as long as this process is there, no other delivers.
        with held(settings.lake / f".extract.{source}.lock", f"extracting {source}"):
            deliver = importlib.import_module(declared.source.reader).deliver  # it may not import
            for file in deliver(settings, declared, datasets, _note):
                _say(delivered=asdict(file))
    except Exception as error:  # whatever a driver raises is said, without what is secret
        text = str(error) if isinstance(error, TidemarkError) else f"{type(error).__name__}: {error}"
        _say(error=without_secrets(text, secrets), may_pass=isinstance(error, MayPassError))
        return 1
    return 0


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """The text without what is secret."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


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
