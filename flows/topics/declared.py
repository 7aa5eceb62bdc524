"""What people say of topics, in the project's seeds: of which texts, how many, and by which vectors."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import TidemarkError
from flows.settings import PROJECT
from flows.topics.vectors import KINDS

SETTINGS = PROJECT / "seeds" / "topic_settings.csv"
NAMES = PROJECT / "seeds" / "topic_names.csv"
MOST_TOPICS = 200


@dataclass(frozen=True)
class Declared:
    """That topics are looked for in a field of a dataset: so many, by vectors of this kind."""

    dataset: str
    field: str
    topics_count: int
    vectors: str


def read_declared(path: Path = SETTINGS, specs: Mapping[str, DatasetSpec] | None = None) -> dict[str, Declared]:
    """What the seed declares, by dataset. Raises :class:`~flows.errors.TidemarkError` where that cannot be."""
    known = load_specs() if specs is None else specs
    found: dict[str, Declared] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            where = f"seeds/{path.name}, line {line}"
            declared = _declared(where, row, known)
            if declared.dataset in found:
                raise TidemarkError(f"{where}: {declared.dataset} stands there twice; leave one of its lines out")
            found[declared.dataset] = declared
    return found


def declared_of(dataset: str) -> Declared:
    """What the seed declares of a dataset. Raises :class:`~flows.errors.TidemarkError` where it declares nothing."""
    declared = read_declared()
    if dataset not in declared:
        raise TidemarkError(
            f"no topics are declared of {dataset}; seeds/topic_settings.csv has {', '.join(declared) or 'none'}: add a "
            "line of its free text"
        )
    return declared[dataset]


def read_names(path: Path = NAMES) -> dict[str, str]:
    """What people call topics, by their ids."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["topic_id"]: row["topic_name"] for row in csv.DictReader(file) if row["topic_name"]}


def _declared(where: str, row: dict[str, str], specs: Mapping[str, DatasetSpec]) -> Declared:
    spec = specs.get(row["dataset"] or "")
    if spec is None:
        raise TidemarkError(f"{where}: the contract has no dataset {row['dataset']}; it has {', '.join(specs)}")
    texts = [field.name for field in spec.texts]
    if row["field"] not in texts:
        raise TidemarkError(
            f"{where}: {row['dataset']} has no free text {row['field']}; it has {', '.join(texts) or 'none'}"
        )
    count = row["topics_count"] or ""
    if not (count.isdecimal() and 2 <= int(count) <= MOST_TOPICS):
        raise TidemarkError(f"{where}: topics_count is {count or 'empty'}; write a number from 2 to {MOST_TOPICS}")
    if row["vectors"] not in KINDS:
        raise TidemarkError(f"{where}: vectors is {row['vectors'] or 'empty'}; write one of {', '.join(KINDS)}")
    return Declared(row["dataset"], row["field"], int(count), row["vectors"])
