"""The entries of ``contracts/approvals.yml``: which weakening of the contract was approved, by whom, why and when."""

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, ClassVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from flows.errors import TidemarkError

FILE = Path("contracts/approvals.yml")
# What each part of an entry is to say.
PARTS = {
    "change": "the change, word for word as the check prints it",
    "approved_by": "who answers for it",
    "reason": "why it is right",
    "date": "the day it was approved, as in 2026-01-15",
}


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Leaves dates as text: one that does not exist is then a fault of its entry, and not of the file."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _day(value: object) -> datetime.date:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        return datetime.date.fromisoformat(value)
    raise ValueError("no day")


class Approval(BaseModel):
    """One weakening, approved."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    change: str = Field(min_length=1)
    approved_by: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    date: Annotated[datetime.date, BeforeValidator(_day)]


@dataclass(frozen=True)
class Entry:
    """An approval and where it stands."""

    line: int
    approval: Approval

    @property
    def identity(self) -> tuple[str, datetime.date]:
        """What tells it from other entries: the same change may be approved again, another day."""
        return self.approval.change, self.approval.date


def read_entries(content: bytes, latest: datetime.date = datetime.date.max) -> list[Entry]:
    """The entries of the file's content, none of which may be dated after ``latest``.

    Raises ``TidemarkError`` that names every entry at fault, its line and what it is to say.
    """
    try:
        text = content.decode()
        node, found = yaml.compose(text, Loader=_Loader), yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise TidemarkError(
            f"{FILE}{line}: is no YAML: {error.problem}; a change has a colon in it and stands in quotes"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TidemarkError(f"{FILE}: is no YAML: {' '.join(str(error).split())}") from error
    if found is None:
        return []
    if not isinstance(found, list):
        raise TidemarkError(f"{FILE}: is to be a list of entries, each with {', '.join(PARTS)}")
    entries: list[Entry] = []
    faults: list[str] = []
    for number, (parts, at) in enumerate(zip(found, node.value, strict=True), 1):
        line = at.start_mark.line + 1
        try:
            approval = Approval.model_validate(parts)
        except ValidationError as error:
            faults += [f"{FILE}:{line}: entry {number} {fault}" for fault in _explain(error)]
            continue
        if approval.date > latest:
            faults.append(f"{FILE}:{line}: entry {number} has a date to come, {approval.date}: give {PARTS['date']}")
        entries.append(Entry(line, approval))
    if faults:
        raise TidemarkError("\n".join(faults))
    return entries


def _explain(error: ValidationError) -> Iterator[str]:
    """What is wrong with an entry, and what it is to say instead."""
    for fault in error.errors():
        part = str(fault["loc"][0]) if fault["loc"] else ""
        if not part:
            yield f"is to have {', '.join(PARTS)}"
        elif part not in PARTS:
            close = get_close_matches(part, PARTS, 1)
            yield f"has {part!r}, which is no part of an entry" + (f"; did you mean {close[0]!r}?" if close else "")
        else:
            yield f"{_wrong(part, fault['type'], fault['input'])}: give {PARTS[part]}"


def _wrong(part: str, kind: str, value: object) -> str:
    if kind == "missing":
        return f"has no {part}"
    if value in (None, "") or kind == "string_too_short":
        return f"has an empty {part}"
    return f"has {value!r} as its {part}"
