"""What is wrong with a node of the project, and on which line of the file that a person wrote."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

# As DuckDB says where in a statement an error is; what follows shows that line, and a sign below it.
LINE = re.compile(r"\n*LINE (\d+):.*", re.DOTALL)


@dataclass(frozen=True)
class Finding:
    """What is wrong with a model, seed or test; ``line`` is in the file at ``path``, None where it is not known."""

    name: str
    path: str
    line: int | None
    message: str

    @property
    def place(self) -> str:
        """The file, and the line where it is known, as editors take it."""
        return self.path if self.line is None else f"{self.path}:{self.line}"


def line_in_file(raw: str, compiled: str, line: int) -> int | None:
    """Which line of a model's file became this line of its compiled SQL, both counted from 1.

    Of a line that a macro made it is the line that calls the macro; None where no line of the file is near.
    """
    before, after = raw.splitlines(), compiled.splitlines()
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for _, first, last, begin, end in matcher.get_opcodes():
        if begin <= line - 1 < end:
            # A macro of one line may give many: what is behind its last line is still it.
            return min(first + line - 1 - begin, max(last - 1, first)) + 1 if before else None
    return None


def explained(message: str) -> tuple[str, int | None]:
    """A message of DuckDB without its picture of the statement, and the line of the statement that it is about."""
    found = LINE.search(message)
    return " ".join(LINE.sub("", message).split()), int(found[1]) if found else None


def mismatches(made: Mapping[str, str], declared: Mapping[str, str]) -> list[str]:
    """How the columns that a model's SQL gives differ from its YAML's, in name or in type as DuckDB spells it."""
    found = []
    for name, kind in declared.items():
        if name not in made:
            near = difflib.get_close_matches(name, [other for other in made if other not in declared], n=1)
            instead = f"; it has {near[0]}, which the YAML has not" if near else ""
            found.append(f"the SQL has no column {name}{instead}")
        elif made[name] != kind:
            found.append(f"{name} is {made[name]} in the SQL and {kind} in the YAML")
    return found + [f"the YAML has no column {name} ({kind})" for name, kind in made.items() if name not in declared]
