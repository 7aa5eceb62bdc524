"""What the rows of each model depend on beside the data: a mark of all its logic, and how many days its changes reach.

A model that another logic built is rebuilt whole (the macro ``should_full_refresh``). A mark may differ where the rows
would not: that costs a build. It is never the same where the rows could differ: that would leave wrong figures.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import nodes as syntax

if TYPE_CHECKING:  # dbt takes over a second to import: flows.build.dbt does where it is run
    from dbt.contracts.graph.manifest import Manifest

# Macros that note what a build did, or decide whether it is whole. No row depends on them, nor on what they alone call.
BOOKKEEPING = frozenset(
    {"clear_before_whole_build", "is_incremental", "record_progress", "record_changed_days", "should_full_refresh"}
)
# The one macro that may call another by a name it works out: names are looked for in `meta`.
CALLS_BY_META = "days_to_replace"
# What of a node's configuration says how it is found, described or guarded, not which rows it has.
NOT_LOGIC = frozenset(
    {"access", "docs", "enabled", "freshness", "grants", "group", "persist_docs", "static_analysis", "tags"}
)
META_NOT_LOGIC = frozenset({"expires", "fresh_within_hours", "owner", "step", "version_policy", "visibility"})
# Where Tidemark runs and how much it may use: set by flows/build/dbt.py, and no row depends on it.
OWN_SETTINGS = "TIDEMARK_"

VARIABLE = re.compile(r"""\bvar\s*\(\s*(?:'(\w+)'|"(\w+)")\s*[,)]""")
ANY_VARIABLE = re.compile(r"\bvar\b")
ENVIRONMENT = re.compile(r"""\benv_var\s*\(\s*['"](\w+)['"]""")
TEXT = re.compile(r"""'(\w+)'|"(\w+)\"""")
COMPUTED_CALL = re.compile(r"""\bcontext\s*(?:\[|\.\s*get\s*\()\s*(?!['"])|\bdispatch\s*\(\s*(?!['"])""")

Variables = Mapping[str, Any]


@dataclass(frozen=True)
class Reach:
    """How many days before and after a day with new rows may change with it."""

    before: int = 0
    after: int = 0


@dataclass(frozen=True)
class Logic:
    """A node's ``mark``, and the ``reach`` of its changes: None where the project does not say."""

    mark: str
    reach: Reach | None


@dataclass(frozen=True)
class _Text:
    """What a text depends on: the variables it names, None where it works out a name, and those of the environment."""

    mark: str
    variables: frozenset[str] | None
    environment: frozenset[str]


class ProjectLogic:
    """The logic of every model and seed in a manifest, with the values that the project's variables have."""

    def __init__(self, manifest: "Manifest", variables: Variables) -> None:
        self._manifest = manifest
        self._variables = variables
        self._of_macro: dict[str, frozenset[str]] = {}
        self._texts: dict[str, _Text] = {}
        self._marks: dict[str, str] = {}
        self._reaches: dict[str, Reach | None] = {}

    @cached_property
    def by_name(self) -> dict[str, Logic]:
        """The logic of each model and seed, by its name."""
        return {
            node.name: Logic(self.mark(id_), self.reach(id_))
            for id_, node in self._manifest.nodes.items()
            if str(node.resource_type) in ("model", "seed")
        }

    def mark(self, id_: str) -> str:
        """A mark of a node's or source's own logic and that of everything upstream of it."""
        if id_ not in self._marks:
            node = self._node(id_)
            own = _source_logic(node) if id_ in self._manifest.sources else self._own_logic(node)
            upstream = {parent: self.mark(parent) for parent in sorted({*self._parents(id_)})}
            text = json.dumps([own, upstream], sort_keys=True, default=str)
            self._marks[id_] = hashlib.sha256(text.encode()).hexdigest()[:32]
        return self._marks[id_]

    def reach(self, id_: str) -> Reach | None:
        """The days that change with a touched one: those of the parents, and as many more as the node looks around.

        ``meta.lookback_days`` can only add to it. Known for models that replace days and for the views between them: a
        table built whole, a seed and a landed file do not move days.
        """
        if id_ not in self._reaches:
            self._reaches[id_] = self._find_reach(id_)
        return self._reaches[id_]

    def macros_of(self, node: Any) -> frozenset[str]:
        """The ids of all macros that make a node's rows: those it calls, those that write it, and all they call."""
        named = {*node.depends_on.macros, *self._written_by(node), *self._named_in(_texts_in(node.config.meta or {}))}
        named |= self._called_in(_code_of(node))
        return frozenset().union(*(self._reached_from(macro) for macro in named))

    def _own_logic(self, node: Any) -> dict[str, Any]:
        macros = {id_: self._text_of(id_) for id_ in self.macros_of(node)}
        config = _config_of(node)
        texts = [_read_text(_code_of(node)), _read_text(json.dumps(config, default=str)), *macros.values()]
        # A name that is worked out may be any.
        names = {*self._variables} if any(text.variables is None for text in texts) else set()
        names = names.union(*(text.variables or () for text in texts))
        return {
            "code": node.checksum.checksum if _is_hashed(node) else _hash_file(node),
            "config": config,
            "columns": {column.name: column.data_type for column in node.columns.values()},
            "macros": {id_: text.mark for id_, text in macros.items()},
            "variables": {name: self._variables[name] for name in names & {*self._variables}},
            "environment": {
                name: _hash(os.environ.get(name, "")) for name in frozenset().union(*(t.environment for t in texts))
            },
        }

    def _text_of(self, macro: str) -> "_Text":
        if macro not in self._texts:
            self._texts[macro] = _read_text(self._manifest.macros[macro].macro_sql)
        return self._texts[macro]

    def _written_by(self, node: Any) -> Iterator[str]:
        """The macros that write a node into the warehouse: its materialization and its incremental strategy."""
        names = {f"materialization_{node.config.materialized}_{adapter}" for adapter in self._adapters}
        if strategy := node.config.get("incremental_strategy"):
            names |= {f"get_incremental_{strategy.replace('+', '_')}_sql"}
        yield from self._named_in(names)

    def _reached_from(self, id_: str) -> frozenset[str]:
        """A macro and all that it calls, directly or not."""
        if id_ not in self._of_macro:
            found: set[str] = set()
            queue = [id_]
            while queue:
                here = queue.pop()
                macro = self._manifest.macros.get(here)
                if here in found or macro is None or macro.name in BOOKKEEPING:
                    continue
                found.add(here)
                queue.extend(macro.depends_on.macros)
                if macro.name != CALLS_BY_META or macro.package_name != self._package:
                    queue.extend(self._called_in(macro.macro_sql))
                else:
                    queue.extend(self._named_in(_constants(macro.macro_sql)))
            self._of_macro[id_] = frozenset(found)
        return self._of_macro[id_]

    def _called_in(self, text: str) -> set[str]:
        """The macros that a text calls by a name dbt does not see: in quotes, or worked out (then any of ours)."""
        found = self._named_in(_constants(text)) if "context" in text or "dispatch" in text else set()
        if COMPUTED_CALL.search(text):
            found |= {id_ for id_, macro in self._manifest.macros.items() if macro.package_name == self._package}
        return found

    def _named_in(self, names: Iterable[str]) -> set[str]:
        return {id_ for name in names for id_ in self._macros_by_name.get(name, ())}

    @cached_property
    def _macros_by_name(self) -> dict[str, list[str]]:
        """The ids of macros by their names, and by the name under which an adapter's variant is dispatched."""
        found: dict[str, list[str]] = {}
        for id_, macro in self._manifest.macros.items():
            found.setdefault(macro.name, []).append(id_)
            prefix, _, name = macro.name.partition("__")
            if name and prefix in self._adapters:
                found.setdefault(name, []).append(id_)
        return found

    @cached_property
    def _adapters(self) -> tuple[str, ...]:
        return (str(self._manifest.metadata.adapter_type), "default")

    @cached_property
    def _package(self) -> str:
        return str(self._manifest.metadata.project_name)

    def _find_reach(self, id_: str) -> Reach | None:
        node = self._node(id_)
        if id_ in self._manifest.sources:
            return Reach()
        if not _passes_days_on(node) and not is_touched_by_day(self._manifest, node):
            return Reach()
        own = self._looks_around(node)
        upstream = [self.reach(parent) for parent in self._parents(id_)]
        # Which days such a parent replaces, its own macro finds in the data: no fixed number of days holds them.
        moved = any(_finds_own_days(kept) for kept in self._kept_above(id_))
        known = [reach for reach in upstream if reach is not None]
        if own is None or len(known) < len(upstream) or (moved and not _finds_own_days(node)):
            return None
        declared = int((node.config.meta or {}).get("lookback_days", 0))
        return Reach(
            before=max((reach.before for reach in known), default=0) + own.after,
            after=max(declared, max((reach.after for reach in known), default=0) + own.before),
        )

    def _looks_around(self, node: Any) -> Reach | None:
        """The most days before and after its own that a node reads; None where they are worked out."""
        macros = [self._manifest.macros[id_] for id_ in self.macros_of(node)]
        texts = [m.macro_sql for m in macros if m.package_name == self._package and m.name != "in_days_to_replace"]
        most = Reach()
        for text in (_code_of(node), *texts):
            for call in _calls(text, "in_days_to_replace"):
                given = dict(zip(("column", "before", "after"), call.args, strict=False))
                given |= {keyword.key: keyword.value for keyword in call.kwargs}
                before, after = (self._whole_number(given.get(name)) for name in ("before", "after"))
                if before is None or after is None or call.dyn_args or call.dyn_kwargs:
                    return None
                most = Reach(max(most.before, before), max(most.after, after))
        return most

    def _whole_number(self, expression: Any) -> int | None:
        """The number that an expression is: written out, or a variable of the project."""
        if expression is None:
            return 0
        if isinstance(expression, syntax.Call) and getattr(expression.node, "name", "") == "var":
            (name, *_) = [*expression.args, None]
            value = self._variables.get(name.value) if isinstance(name, syntax.Const) else None
        else:
            value = expression.value if isinstance(expression, syntax.Const) else None
        return value if isinstance(value, int) else None

    def _kept_above(self, id_: str) -> Iterator[Any]:
        """The stored models that a node reads, through views."""
        for parent in self._parents(id_):
            node = self._node(parent)
            if parent in self._manifest.nodes and _is_view(node):
                yield from self._kept_above(parent)
            else:
                yield node

    def _parents(self, id_: str) -> list[str]:
        return [] if id_ in self._manifest.sources else list(self._node(id_).depends_on_nodes)

    def _node(self, id_: str) -> Any:
        return self._manifest.sources.get(id_) or self._manifest.nodes[id_]


def variables_of(project: Path, given: Variables) -> dict[str, Any]:
    """The project's variables by name: those of its ``dbt_project.yml``, and ``given`` ones before them."""
    read = yaml.safe_load((project / "dbt_project.yml").read_text())
    of_all = read.get("vars") or {}
    of_project = of_all.get(read.get("name"))
    return {**of_all, **(of_project if isinstance(of_project, dict) else {}), **given}


def variables_given(arguments: Iterable[str]) -> dict[str, Any]:
    """The variables in a command's ``--vars``, as dbt reads them; what dbt will refuse gives none."""
    given = ""
    arguments = iter(arguments)
    for argument in arguments:
        if argument == "--vars":
            given = next(arguments, "")
        elif argument.startswith("--vars="):
            given = argument.removeprefix("--vars=")
    try:
        read = yaml.safe_load(given)
    except yaml.YAMLError:
        return {}
    return read if isinstance(read, dict) else {}


def environment_in(text: str) -> frozenset[str]:
    """The environment variables that a text reads, Tidemark's own settings aside."""
    return frozenset(name for name in ENVIRONMENT.findall(text) if not name.startswith(OWN_SETTINGS))


def _read_text(text: str) -> _Text:
    named = VARIABLE.findall(text)
    worked_out = len(named) < len(ANY_VARIABLE.findall(text))
    variables = None if worked_out else frozenset(single or double for single, double in named)
    return _Text(_hash(text), variables, environment_in(text))


def _source_logic(source: Any) -> dict[str, Any]:
    return {"columns": {column.name: column.data_type for column in source.columns.values()}}


def _config_of(node: Any) -> dict[str, Any]:
    """What of a node's configuration may shape its rows."""
    config = {key: value for key, value in node.config.to_dict().items() if key not in NOT_LOGIC}
    config["meta"] = {key: value for key, value in (config.get("meta") or {}).items() if key not in META_NOT_LOGIC}
    return config


def _code_of(node: Any) -> str:
    return str(getattr(node, "raw_code", "") or "")


def _is_hashed(node: Any) -> bool:
    return str(node.checksum.name) != "path"


def _hash_file(node: Any) -> str:
    """dbt marks a seed of more than a megabyte by its path alone."""
    with (Path(node.root_path) / node.original_file_path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _constants(text: str) -> set[str]:
    return {single or double for single, double in TEXT.findall(text)}


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts_in(inner)


def _calls(text: str, name: str) -> Iterator[Any]:
    if name in text:
        from dbt_common.clients.jinja import get_environment  # noqa: PLC0415

        for call in get_environment().parse(text).find_all(syntax.Call):
            # With the package's name before it, a macro is an attribute.
            if getattr(call.node, "name", None) == name or getattr(call.node, "attr", None) == name:
                yield call


def _is_view(node: Any) -> bool:
    return node.config.materialized in ("view", "ephemeral")


def is_touched_by_day(manifest: "Manifest", node: Any) -> bool:
    """Whether a model is one of things, of which a batch touches all that are on its days: where ``meta.touched_keys``
    names a model that is kept by day."""
    touched_keys = (node.config.meta or {}).get("touched_keys")
    named = manifest.nodes.get(f"model.{manifest.metadata.project_name}.{touched_keys}")
    return named is not None and named.config.get("incremental_strategy") == "replace_days"


def _passes_days_on(node: Any) -> bool:
    return _is_view(node) or node.config.get("incremental_strategy") == "replace_days"


def _finds_own_days(node: Any) -> bool:
    meta = getattr(node.config, "meta", None) or {}
    return CALLS_BY_META in meta
