"""How much of what is personal is taken out of real conversations, and how much else; and how fast.

The turns of customers in MultiDoGO, in which others labelled each word: ``TIDEMARK_REAL_DATA`` names the folder that
holds ``conversations/``. The rules were written with finance, insurance and airline at hand; the other domains show
what they do with talk they were not written for.
"""

import csv
import gzip
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from rich.table import Table

from flows.land.redaction.redact import find, redact_column

FOLDER = Path(os.environ.get("TIDEMARK_REAL_DATA", "/nonexistent")) / "conversations"
WRITTEN_WITH = ("airline", "finance", "insurance")
# Towns, products, dates and amounts are labelled too; they are not looked for.
KIND_OF_LABEL = {
    "email_address": "email",
    "phone_number": "phone", "phonenumber": "phone",
    "card_number": "card",
    "account_number": "account", "target_account_number": "account", "account_id": "account",
    "ssn": "id",
    "booking_confirmation_number": "reference", "claimid": "reference", "policyid": "reference",
    "password": "password",
    "current_zipcode": "postcode", "new_zipcode": "postcode",
    "address": "address",
    "name": "name", "username": "name",
}  # fmt: skip
OTHER = "other words"


class Turn(NamedTuple):
    """What a customer wrote, and a label for each piece between single spaces."""

    text: str
    labels: list[str]


class Measured(NamedTuple):
    """Words by kind, and those of them that were replaced; ``OTHER`` are those that are not personal."""

    labelled: Counter[str]
    replaced: Counter[str]


def turns(only: tuple[str, ...] = (), but: tuple[str, ...] = ()) -> list[Turn]:
    """The turns of all files, of ``only`` some domains or of all ``but`` some."""
    found = []
    for path in sorted(FOLDER.glob("*.tsv.gz")):
        if (only and not path.name.startswith(only)) or (but and path.name.startswith(but)):
            continue
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t")
            found += [Turn(row["utterance"], row["slot-labels"].split(" ")) for row in rows]
    return found


def measure(found: list[Turn]) -> Measured:
    """How many words of each kind there are, and how many of them are replaced, by whatever placeholder."""
    labelled: Counter[str] = Counter()
    replaced: Counter[str] = Counter()
    for turn in found:
        spans = find(turn.text)
        start = 0
        for word, label in zip(turn.text.split(" "), turn.labels, strict=True):
            end = start + len(word)
            if word.strip():
                kind = KIND_OF_LABEL.get(label, OTHER)
                labelled[kind] += 1
                replaced[kind] += any(span.start < end and span.end > start for span in spans)
            start = end + 1
    return Measured(labelled, replaced)


def tables(work: Path, size: int) -> Iterator[Table]:
    """One table of recall by kind, and one of speed."""
    if not FOLDER.exists():
        raise SystemExit(
            f"there are no conversations at {FOLDER}: set TIDEMARK_REAL_DATA to the folder that holds them"
        )
    known, held_out = turns(only=WRITTEN_WITH), turns(but=WRITTEN_WITH)
    parts = [measure(known), measure(held_out)]
    table = Table("share of words replaced", ", ".join(WRITTEN_WITH), "other domains", title_justify="left")
    for kind in [*dict.fromkeys(KIND_OF_LABEL.values()), OTHER]:
        table.add_row(kind, *(_share(part, kind) for part in parts))
    yield table
    texts = pa.array([turn.text for turn in known + held_out])
    started = time.process_time()
    redact_column(texts)
    seconds = time.process_time() - started
    speed = Table("redacting", "of one core", title_justify="left")
    speed.add_row("short turns a second", f"{len(texts) / seconds:,.0f}")
    speed.add_row("MB a second", f"{texts.nbytes / seconds / 1e6:.1f}")
    yield speed


def _share(part: Measured, kind: str) -> str:
    words = part.labelled[kind]
    return f"{part.replaced[kind] / words:.3f} of {words:,}" if words else "none"
