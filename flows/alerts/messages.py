"""What is said to people in alerts, and how it is made to fit where there is little room."""

from dataclasses import dataclass
from typing import Literal

from flows.text import cut

# What a message is about, by which services choose its colour and icon.
Kind = Literal["failure", "warning", "success", "info"]


@dataclass(frozen=True)
class Message:
    """What is to be said: a headline, then lines or blocks of lines in order of weight.

    ``unit`` is what an item is called where there is no room for all.
    """

    headline: str
    items: tuple[str, ...]
    unit: str = "lines"
    kind: Kind = "info"

    @property
    def subject(self) -> str:
        """The headline as the subject of a mail."""
        return f"[tidemark] {self.headline}"


def fit(message: Message, room: int, is_escaped: bool = False, has_subject: bool = False) -> str:
    """The message as text of at most ``room`` characters; what has no room is counted: "... 3 more warnings".

    ``is_escaped``: for Slack, in whose text ``&``, ``<`` and ``>`` are signs of their own (``<!channel>`` calls all).
    """
    escape = _slack_escaped if is_escaped else str
    text = cut(escape(message.subject if has_subject else message.headline), room)
    items = [escape(item) for item in message.items]
    for number, item in enumerate(items):
        left = len(items) - number
        rest = f"\n... {left - 1} more {message.unit}" if left > 1 else ""
        if len(text) + 1 + len(item) + len(rest) > room:
            more = f"\n... {left} more {message.unit}"
            return text + more if len(text) + len(more) <= room else cut(text + more, room)
        text += f"\n{item}"
    return text


def _slack_escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
