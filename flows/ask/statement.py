"""What a question may be: a single SELECT of published tables, by functions that only compute.

DuckDB's own parser says what a statement is; nothing is decided by the look of the text. Of the tree that it makes,
every kind of node, every table and every function has to be one that is known here. What is not is refused, whatever
it does: so a kind of node that a later DuckDB brings is out until somebody looked at it.
"""

import difflib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from unicodedata import category

import duckdb

from flows.ask.functions import FUNCTIONS, TABLE_FUNCTIONS
from flows.errors import TidemarkError
from flows.text import cut

# Characters: the parser takes time and memory by the length of what it reads.
LONGEST = 100_000
# Categories of Unicode: at a null character the parser ends, and half a character is no text.
UNREADABLE = ("Cc", "Cs")
# Characters of what DuckDB says, which repeats what it was given.
ROOM = 2_000
# How deep the tree may be, so that nothing that walks it fills the stack: some hundred brackets within each other.
DEEPEST = 400

EXPRESSIONS = frozenset({
    "BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "LAMBDA",
    "OPERATOR", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY", "WINDOW",
})  # fmt: skip
QUERIES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
ROWS_FROM = frozenset(
    {"BASE_TABLE", "EMPTY", "EXPRESSION_LIST", "JOIN", "PIVOT", "SHOW_REF", "SUBQUERY", "TABLE_FUNCTION"}
)
# What says in which order and how many, and of which type.
DETAILS = frozenset({
    "ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER",
    "ASCENDING", "DESCENDING", "ORDER_DEFAULT",
    "ARRAY_TYPE_INFO", "DECIMAL_TYPE_INFO", "ENUM_TYPE_INFO", "LIST_TYPE_INFO", "STRING_TYPE_INFO", "STRUCT_TYPE_INFO",
    "UNBOUND_TYPE_INFO",
})  # fmt: skip
SHOWN = frozenset({"DESCRIBE", "SUMMARY"})
TOO_DEEP = "too many brackets, subqueries or operators are within each other; ask for less at once"
ONE_SELECT = "only one SELECT is answered, on the published tables"


class RefusedError(TidemarkError):
    """A question that is not answered, whoever asks it; its text says why, and what to ask instead."""


class UnknownTableError(RefusedError):
    """A question about a table that is not there, for its level at least."""


@dataclass(frozen=True)
class Checked:
    """A statement that may run, and the published tables that it names."""

    statement: duckdb.Statement
    tables: tuple[str, ...]


def check(db: duckdb.DuckDBPyConnection, sql: str, tables: Iterable[str], database: str) -> Checked:
    """The one SELECT that a text is, on these tables of the database ``database``.

    Raises :class:`RefusedError` where it is anything else.
    """
    if any(category(character) in UNREADABLE and not character.isspace() for character in sql):
        raise RefusedError("the question has control characters or halves of characters in it; leave them out")
    if len(sql) > LONGEST:
        raise RefusedError(f"the question has {len(sql):,} characters; at most {LONGEST:,} are read")
    try:
        statements = db.extract_statements(sql)
    except duckdb.Error as error:
        raise RefusedError(readable(error)) from error
    if not statements:
        raise RefusedError(f"there is no statement; {ONE_SELECT}")
    if len(statements) > 1:
        raise RefusedError(
            f"these are {len(statements)} statements (PIVOT without IN is some, too); {ONE_SELECT}: ask one by one"
        )
    tree = _tree(db, statements[0], sql)
    known = {name.lower(): name for name in tables}
    named = _Names(database.lower(), known, _other_names(db) - known.keys())
    for node in _nodes(tree):
        named.hold(node)
    named.resolve()
    return Checked(statements[0], tuple(sorted({known[name] for name in named.read if name in known})))


def _tree(db: duckdb.DuckDBPyConnection, statement: duckdb.Statement, sql: str) -> Any:
    """The statement as DuckDB parsed it. DuckDB takes some commands for a SELECT (as PRAGMA), and serialises none of
    them: both have to agree."""
    if statement.type != duckdb.StatementType.SELECT:
        raise RefusedError(f"this is {_article(statement.type.name)}; {ONE_SELECT}")
    row = db.execute("select json_serialize_sql(?)", [sql]).fetchone()
    try:
        tree = json.loads(row[0]) if row else {"error": True}
    except RecursionError as error:
        raise RefusedError(TOO_DEEP) from error
    if tree["error"] or len(tree["statements"]) != 1:
        raise RefusedError(f"this is no SELECT; {ONE_SELECT}")
    return tree["statements"][0]


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind}"


def _other_names(db: duckdb.DuckDBPyConnection) -> set[str]:
    """What else a name may lead to, as DuckDB's own views, which tell of settings, files and the machine."""
    return {name for (name,) in db.execute("select distinct lower(view_name) from duckdb_views()").fetchall()}


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of the tree, from the outside inwards."""
    waiting = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > DEEPEST:
            raise RefusedError(TOO_DEEP)
        if isinstance(node, dict):
            yield node
        parts = node.values() if isinstance(node, dict) else node
        waiting += [(part, depth + 1) for part in parts if isinstance(part, dict | list)]


class _Names:
    """What a statement names, held against what it may."""

    def __init__(self, database: str, known: dict[str, str], other: set[str]) -> None:
        self.database = database
        self.known = known
        self.other = other
        self.read: set[str] = set()
        self.own: set[str] = set()

    def hold(self, node: dict[str, Any]) -> None:
        """Look at a node. Raises :class:`RefusedError` where its kind is not known, or what it names not allowed."""
        for cte in node.get("cte_map", {}).get("map", ()):
            self._name_own(cte["key"])
        if isinstance(node.get("cte_name"), str) and node["cte_name"]:
            self._name_own(node["cte_name"])
        kind, is_expression = node.get("type"), "class" in node
        if is_expression:
            if node["class"] not in EXPRESSIONS:
                raise RefusedError(f"{_plain(node['class'])} is not answered{_instead(node['class'])}; {ONE_SELECT}")
        elif isinstance(kind, str) and kind not in QUERIES | ROWS_FROM | DETAILS:
            raise RefusedError(f"{_plain(kind)} is not answered; {ONE_SELECT}")
        elif kind == "BASE_TABLE":
            self._read(node)
        elif kind == "SHOW_REF" and not (node.get("show_type") in SHOWN and node.get("query")):
            raise RefusedError("SHOW is not answered: `select name, description from published_tables` lists them")
        elif kind == "TABLE_FUNCTION" and _function_of(node["function"]) not in TABLE_FUNCTIONS:
            raise RefusedError(
                f"{_function_of(node['function'])}() is no source of rows here: read published tables, or "
                f"{', '.join(sorted(TABLE_FUNCTIONS))}"
            )
        name = node.get("function_name")
        if isinstance(name, str) and name.lower() not in FUNCTIONS:
            near = difflib.get_close_matches(name.lower(), FUNCTIONS, n=2, cutoff=0.75)
            raise RefusedError(
                f"the function {cut(name, 100)}() is none of those allowed, which only compute from their arguments"
                + (f"; did you mean {' or '.join(near)}?" if near else "")
            )

    def _name_own(self, name: str) -> None:
        """A name that the statement gives to a part of itself. Where that part is not in reach, DuckDB looks for a
        table, view or file of that name: so it must not be one."""
        if not name.isidentifier() or name.lower() in self.other:
            raise RefusedError(
                f"give the part that is called {cut(name, 100)!r} another name, of letters, digits and _"
            )
        self.own.add(name.lower())

    def _read(self, node: dict[str, Any]) -> None:
        name, schema, catalog = (str(node.get(part) or "") for part in ("table_name", "schema_name", "catalog_name"))
        if node.get("at_clause"):
            raise RefusedError("AT is not answered: a publication is read as it is")
        if schema.lower() not in ("", "main", self.database) or catalog.lower() not in ("", self.database):
            whole = cut(".".join(filter(None, (catalog, schema, name))), 100)
            raise UnknownTableError(f"{whole} is not published: name tables without a schema; {self._those()}")
        if (schema or catalog) and name.lower() not in self.known:
            raise UnknownTableError(self._unknown(name))
        self.read.add(name.lower())

    def resolve(self) -> None:
        """Raises :class:`RefusedError` where a table is none of those published, nor a part of the statement."""
        for name in sorted(self.read):
            if name not in self.known and name not in self.own:
                raise UnknownTableError(self._unknown(name))

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name.lower(), self.known, n=3, cutoff=0.6)
        meant = f"; did you mean {' or '.join(near)}?" if near else ";"
        return f"there is no table {cut(name, 100)} here{meant} {self._those()}"

    def _those(self) -> str:
        return f"there are {', '.join(sorted(self.known))}"


def _function_of(node: Any) -> str:
    return str(node.get("function_name", "")).lower() if isinstance(node, dict) else ""


def _plain(kind: str) -> str:
    return kind.replace("_", " ").lower()


def _instead(kind: str) -> str:
    return ": write the value in its place" if kind == "PARAMETER" else ""


def readable(error: Exception) -> str:
    """What DuckDB says, without its advice on settings that nobody can change here."""
    text = str(error)
    for advice in ("\n\nPossible solutions", "\nThis limit was set by", "\n\nStack Trace"):
        text = text.partition(advice)[0]
    return cut(text.strip() or type(error).__name__, ROOM)
