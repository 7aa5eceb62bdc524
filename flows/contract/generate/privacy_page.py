"""``docs/privacy.md``: what is kept of people, why, for how long and who sees it, for those who answer for that.

What stands there of fields follows from the contract; where values go, and who may open these places, is written here.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from flows.contract.generate.documents import NOTICE
from flows.contract.spec import DatasetSpec, FieldSpec, Privacy, Treatment, Truncation

PAGE = Path("docs/privacy.md")

INTRODUCTION = """\
What Tidemark takes in of people, why, for how long, and who sees it. Each field is declared in the
[contract](../contracts/), with all that is said of it here; landing does what the contract says before anything is
stored that others may read. A change that protects people less
[needs an approval](guides/change-a-field.md), which is written down.
"""

LANDS = {
    Treatment.KEEP: ("kept", "The value, as it was sent."),
    Treatment.PSEUDONYMISE: (
        "keyed hash",
        "A code that is the same wherever the same person or device appears, and cannot be traced back without the key "
        "([why](adr/0006-pseudonyms.md)).",
    ),
    Treatment.TRUNCATE: (
        "truncated",
        "A coarser value: of a birth date the year, of a postal address the country.",
    ),
    Treatment.REDACT: (
        "redacted, encrypted",
        "What was written or said, encrypted and in no table; what names or reaches a person is taken out of it first, "
        "as far as rules find it ([why](adr/0018-text-and-quarantine-encrypted.md)).",
    ),
    Treatment.DROP: ("dropped", "Nothing."),
}

CLASSES = {
    Privacy.NONE: "Says nothing of a person.",
    Privacy.BEHAVIOUR: "Says something of what a person did or is; not enough alone to know who it was.",
    Privacy.QUASI_IDENTIFIER: "Narrows down who it was when put beside other fields.",
    Privacy.IDENTIFIER: "Stands for one person or device wherever it appears.",
    Privacy.DIRECT_IDENTIFIER: "Names or reaches a person without any other source.",
    Privacy.FREE_TEXT: "Written or said freely by a person: may hold anything.",
}

STORES = (
    (
        "`lake/inbox`",
        "Files as they were delivered, with everything in them",
        "The user that lands them, and who is given the right to deliver",
        "The days of the dataset, from when they were dealt with",
    ),
    (
        "`lake/landed`",
        "Rows with what lands of each field",
        "Who builds the warehouse",
        "The days of the dataset",
    ),
    (
        "`lake/quarantine`",
        "Rows that did not fit, encrypted with a key for each day; file, line and reason in clear",
        "The user that lands, with the master key",
        "The days of the dataset",
    ),
    (
        "`lake/text`",
        "Free text, redacted, encrypted with a key for each day",
        "The user that lands, with the master key",
        "The days of the field",
    ),
    (
        "`lake/told`",
        "For a moment: what rows that just landed tell of consent, by keyed hash",
        "The user that lands",
        "Until the landing ends",
    ),
    (
        "the warehouse",
        "Tables worked out from what landed",
        "Who builds it",
        "As what landed; it may be deleted at any time and is made again",
    ),
    (
        "`published`",
        "The marts: tables for everybody's questions, worked out from the warehouse",
        "By the visibility of each table: everybody, the group of internal, or that of restricted",
        "As what landed; when rows end or people are erased, every earlier version goes",
    ),
    (
        "the bucket of `TIDEMARK_LANDED_URL`, where it is set",
        "What `lake/landed` has; of rejected rows line, reason and field",
        "Whom its policy lets read",
        "As `lake/landed`: what is removed there goes before that is called done",
    ),
    (
        "the bucket of `TIDEMARK_PUBLISHED_URL`, where it is set",
        "What `published` has",
        "Whom its policy lets read, by level",
        "As `published`",
    ),
    (
        "`secrets`, `lake/keys`",
        "The key of keyed hashes, the master key, the keys of days",
        "The user that lands",
        "The key of a day: as what it encrypts",
    ),
)


def privacy_page(specs: Iterable[DatasetSpec]) -> bytes:
    """The page, dataset by dataset."""
    specs = [*specs]
    parts = [
        f"<!-- {NOTICE} -->",
        "# What is kept of people",
        INTRODUCTION.strip(),
        "## At a glance",
        "How long each dataset is kept, and how many of its fields land in which way.",
        _at_a_glance(specs),
        "## What becomes of a value",
        _table(("as the tables below say", "what lands"), LANDS.values()),
        "What lands **with consent** lands in rows of people who agreed to one of its uses, and is empty in others "
        "([how consent is judged](guides/privacy.md#consent)).",
        "## How sensitive a field is",
        _table(("class", "what it means"), ((_words(kind), text) for kind, text in CLASSES.items())),
        "## Where it is, and who may open it",
        _table(("where", "what is there", "who may open it", "how long"), STORES),
        "Days are what the contract allows at most. What ends by itself and when, and what a person may ask for, is in "
        "[what people are owed](guides/privacy.md). A field that is dropped stands in the inbox, in quarantine where "
        "its row did not fit, and nowhere else.",
        *(part for spec in specs for part in _dataset(spec)),
    ]
    return ("\n\n".join(parts) + "\n").encode()


def _at_a_glance(specs: list[DatasetSpec]) -> str:
    rows = []
    for spec in specs:
        fields = Counter(field.treatment for field in _distinct(spec))
        of_people = any(field.privacy is not Privacy.NONE for field in spec.fields)
        counts = (str(fields[treatment] or "") for treatment in LANDS)
        rows.append((f"[{spec.name}](#{spec.name})", "yes" if of_people else "no", _days(spec.retention_days), *counts))
    heads = ("dataset", "of people", "days", *(name for name, _ in LANDS.values()))
    return _table(heads, rows)


def _dataset(spec: DatasetSpec) -> Iterable[str]:
    yield f"## {spec.name}"
    kept = f"for {spec.retention_days:,} days at most" if spec.retention_days else "for an unlimited time"
    yield f"{spec.description} Delivered by `{spec.source}`; `{spec.owner}` answers for it. Kept {kept}."
    if spec.require_one_of:
        yield f"Each row has {' or '.join(f'`{name}`' for name in spec.require_one_of)}."
    rows = (
        (
            f"`{field.name}`",
            field.description,
            _lands(field) + (", with consent" if field.column in spec.with_consent_alone else ""),
            _words(field.privacy),
            ", ".join(field.purposes),
            _days(field.retention_days or spec.retention_days),
        )
        for field in _distinct(spec)
    )
    yield _table(("field", "what it is", "what lands", "class", "may be used for", "days"), rows)


def _distinct(spec: DatasetSpec) -> list[FieldSpec]:
    """The fields; those that several kinds of event have alike, once."""
    return [*dict.fromkeys(field.model_copy(update={"payload": None, "required": False}) for field in spec.fields)]


def _lands(field: FieldSpec) -> str:
    name, _ = LANDS[field.treatment]
    if field.truncate:
        said = f"{name}: {'the year' if field.truncate.to is Truncation.YEAR else 'the country'}, `{field.column}`"
    elif field.treatment is Treatment.PSEUDONYMISE:
        said = f"{name}, `{field.column}`"
    else:
        said = name
    return f"{said}; `{field.flag.column}` is worked out of it first" if field.flag else said


def _words(kind: Privacy) -> str:
    return kind.replace("quasi_", "quasi-").replace("_", " ")


def _days(days: int) -> str:
    return f"{days:,}" if days else "unlimited"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
