"""Recipes of the docs as steps: the files that they write and the commands that they run, as a reader finds them.

A fenced block is a file or commands. Before a file stands what to do with it, ending in a colon:

    `path/to/file`:                            the block is the file
    `path/to/file`, at the end:                the block goes after what the file holds
    `path/to/file`, at the end of the oneof:   the block goes before the oneof's closing brace

A block of `sh` is commands, one a line; what follows ` #` is a remark.
"""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

AT_END, IN_ONEOF = ", at the end", ", at the end of the oneof"
_BLOCKS = re.MULTILINE | re.DOTALL


@dataclass(frozen=True)
class Write:
    """A file to write: whole, or what is added to it at a place."""

    path: Path
    content: str
    place: str = ""

    def apply(self, project: Path) -> None:
        """Do it. Raises ``ValueError`` where the file is not what the recipe takes it to be."""
        path = project / self.path
        if not self.place:
            if path.exists():
                raise ValueError(f"{self.path} exists already: a recipe adds to it, or writes another file")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.content)
            return
        text = path.read_text()
        if self.place == AT_END:
            path.write_text(f"{text}\n{self.content}")
            return
        opened = re.search(r"^([ ]*)oneof \w+ \{$", text, re.MULTILINE)
        closed = opened and re.compile(rf"^{opened[1]}\}}", re.MULTILINE).search(text, opened.end())
        if not opened or not closed:
            raise ValueError(f"{self.path} has no oneof to add to")
        inner = textwrap.indent(self.content, opened[1] + "  ")
        path.write_text(text[: closed.start()] + inner + text[closed.start() :])


@dataclass(frozen=True)
class Recipe:
    """What a section of the docs tells a reader to do."""

    title: str
    files: tuple[Write, ...]
    commands: tuple[str, ...]


def read_recipe(document: Path, title: str) -> Recipe:
    """The recipe below a heading, up to the next heading of its level.

    Raises ``ValueError`` where there is no such heading, or a block does not say which file it is.
    """
    text = document.read_text()
    heading = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    if not heading:
        raise ValueError(f"{document.name} has no section {title!r}")
    rest = text[heading.end() :]
    prose = re.sub(r"^ *```.*?^ *```", _blank, rest, flags=_BLOCKS)
    end = re.search(rf"^#{{1,{len(heading[1])}}} ", prose, re.MULTILINE)
    return recipe_of(title, rest[: end.start()] if end else rest)


def _blank(block: re.Match[str]) -> str:
    """A block of the same length that holds no heading: `#` begins a remark in it."""
    return " " * len(block[0])


def recipe_of(title: str, section: str) -> Recipe:
    """The recipe that a section's text is."""
    files, commands, said_until = [], [], 0
    for block in re.finditer(r"^([ ]*)```(\w*)\n(.*?)^\1```$", section, _BLOCKS):
        content = textwrap.dedent(block[3])
        if block[2] == "sh":
            lines = (re.sub(r"\s+#.*", "", line) for line in content.splitlines())
            commands += [line for line in lines if line.strip()]
        else:
            files.append(_write(title, section[said_until : block.start()], content))
        said_until = block.end()
    return Recipe(title, tuple(files), tuple(commands))


def _write(title: str, before: str, content: str) -> Write:
    paragraph = " ".join(before.strip().split("\n\n")[-1].split())
    sentence = re.split(r"(?<=[.:]) ", paragraph)[-1]
    said = re.fullmatch(r"`([^`]+/[^`]+)`(.*):", sentence)
    if not said or said[2] not in ("", AT_END, IN_ONEOF):
        raise ValueError(f"{title!r}: no file is named before the block that begins {content[:60]!r}, but {sentence!r}")
    return Write(Path(said[1]), content, said[2])
