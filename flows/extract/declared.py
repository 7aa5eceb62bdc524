"""What is extracted from where: one YAML file a source in ``extracts/``, checked against the contract."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from flows.contract.spec import DatasetSpec, load_specs
from flows.errors import TidemarkError
from flows.extract.kinds import KINDS
from flows.extract.source import Source
from flows.land.feeds import dataset_of, load_feeds

SUFFIX = ".yml"


@dataclass(frozen=True)
class DeclaredSource:
    """A source with its name, which is that of its file and of its folder in the inbox; and what is asked of one run.

    That is whether it ``accepts_deletes``, however many there are, and begins ``from_the_beginning``.
    """

    name: str
    source: Source
    accepts_deletes: bool = False
    from_the_beginning: bool = False


@dataclass(frozen=True)
class Declared:
    """All that is declared: the sources whose files are good, and by file what is wrong with the others."""

    sources: tuple[DeclaredSource, ...]
    faults: Mapping[Path, str]

    def one(self, name: str) -> DeclaredSource:
        """The source of this name. Raises :class:`TidemarkError` where there is none, or its file is not good."""
        for declared in self.sources:
            if declared.name == name:
                return declared
        for path, fault in self.faults.items():
            if path.stem == name:
                raise TidemarkError(f"{path}: {fault}")
        names = sorted(declared.name for declared in self.sources)
        close = get_close_matches(name, names, 1)
        raise TidemarkError(
            f"no source {name!r} is declared in extracts/ ({', '.join(names) or 'none is'})"
            + (f"; did you mean {close[0]!r}?" if close else "")
        )


def load_declared(folder: Path) -> Declared:
    """Read all declarations. What is wrong with one is said where it is asked for, and stops no other."""
    specs = load_specs()
    sources, faults = [], {}
    for path in sorted((*folder.glob(f"*{SUFFIX}"), *folder.glob("*.yaml"))):
        try:
            sources.append(DeclaredSource(path.stem, _read(path, specs)))
        except ValueError as error:
            faults[path] = str(error)
    return Declared(tuple(sources), faults)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Takes no name twice in a mapping: of two the last would count."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node."""
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := {name for name in names if names.count(name) > 1}:
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: {', '.join(map(str, twice))} stands there twice")
        return made


def _read(path: Path, specs: Mapping[str, DatasetSpec]) -> Source:
    """A file's declaration. Raises ``ValueError`` with everything that is wrong with it."""
    if path.suffix != SUFFIX or not re.fullmatch(r"[a-z][a-z0-9_]*", path.stem):
        raise ValueError(f"its name is that of a folder of the inbox: small letters, digits and _, and then {SUFFIX}")
    try:
        read = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        source = _model_of(read).model_validate(read)
    except ValidationError as error:
        raise ValueError("; ".join(_in_words(one) for one in error.errors())) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"cannot be read ({' '.join(str(error).split())})") from error
    faults = []
    for dataset, extract in source.extracts.items():
        spec = dataset_of(dataset) if source.delivers_as_is else specs.get(dataset)
        if spec is None:
            there = sorted({*specs, *load_feeds()} if source.delivers_as_is else specs)
            faults.append(f"extracts.{dataset}: the contract has no dataset of this name ({', '.join(there)})")
        else:
            faults.extend(f"extracts.{dataset}.{fault}" for fault in extract.faults(spec))
    if faults:
        raise ValueError("; ".join(faults))
    return source


def _model_of(read: Any) -> type[Source]:
    """The model of the kind that a declaration says it is of; raises ``ValueError`` where there is none such."""
    if not isinstance(read, dict) or not isinstance(connection := read.get("connection"), dict):
        raise ValueError(
            "connection: field required; the file is a mapping of connection, schedule and extracts, and connection "
            f"one with kind: {', '.join(KINDS)}"
        )
    kind = connection.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"connection.kind: input should be one of {', '.join(KINDS)}")
    return KINDS[kind]


def _in_words(error: Any) -> str:
    where = ".".join(map(str, error["loc"]))
    said = error["msg"].removeprefix("Value error, ")
    return f"{where}: {said[:1].lower()}{said[1:]}"
