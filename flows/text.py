"""Text for people: numbers with their nouns, and what fits where there is little room."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, such as 1 row or 2,000 rows."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or f'{noun}s'}"


def cut(text: str, room: int) -> str:
    """At most ``room`` characters of a text; the end says how many more there were."""
    if len(text) <= room:
        return text
    end = ""
    for _ in range(4):  # the number in it counts what it takes the place of
        end = f" ... {len(text) - room + len(end):,} more characters"
    return text[: room - len(end)] + end if len(end) < room else text[:room]


def one_line(text: str) -> str:
    """The text as a headline: a mail's subject can hold no line breaks or control characters."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())
