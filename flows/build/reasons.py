"""What a failed node found, and why, from dbt's message without what surrounds it."""

import re

from flows.text import counted

# How the message of a test of valid rows begins: the macro broken_rules.
BROKEN_RULES = "broken rules"

# So that a page stays a page.
MOST_LINES = 15
# dbt's heading above the database's own words, and its footers, say what the name and the file say already, or name
# macros of dbt's own.
HEADING = re.compile(r"^[A-Z][\w ]* Error in \w+ \S+ \(.*\)$")
FOOTER = re.compile(r"^(compiled code at |> in macro |> called by )")


def why(message: str) -> tuple[str, ...]:
    """The lines of dbt's message that say why; the last one says how many more there are, where there are many."""
    lines = [line for line in message.strip().splitlines() if line.strip()]
    if len(lines) > 1 and HEADING.match(lines[0].strip()):
        lines = lines[1:]
    lines = [line for line in lines if not FOOTER.match(line.strip())]
    indent = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    kept = [line[indent:].rstrip() for line in lines]
    return (*kept[:MOST_LINES], *([f"... {len(kept) - MOST_LINES} more lines"] if len(kept) > MOST_LINES else []))


def found(rows: int, message: str) -> tuple[str, ...]:
    """What a node found that failed, in lines: rows, with the rules that they break where it says so; else why."""
    if not rows:
        return why(message)
    return (f"{counted(rows, 'row')}; {message}" if message.startswith(BROKEN_RULES) else counted(rows, "row"),)
