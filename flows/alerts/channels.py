"""Where each owner's alerts go, and sending to there by Apprise without letting an address into a log.

The channels file is YAML: owner to list of Apprise addresses, and ``default`` for every other owner. Addresses hold
passwords and tokens, so the file is for its owner alone, and a channel is named by scheme and host only.
"""

import logging
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from apprise import Apprise, AppriseAsset, NotifyBase, NotifyFormat, NotifyType

from flows.alerts.messages import Message, fit
from flows.contract.owners import owners as project_owners
from flows.errors import TidemarkError
from flows.rights import is_private
from flows.settings import Settings
from flows.text import cut

DEFAULT = "default"
# Seconds to connect and between two reads, where the address does not say otherwise (`cto`, `rto`).
TIMEOUT_SECONDS = 10.0
# A body that Slack and what is compatible with it understands: only `text`.
SLACK_SCHEMES = {"slack+http": "json", "slack+https": "jsons"}
SLACK_BODY = ":message=text&:title=&:version=&:attachments=&:type="

_ASSET = AppriseAsset(
    app_id="Tidemark",
    app_desc="Tidemark",
    app_url="",
    async_mode=False,  # in this thread, where its log records can be caught
    http_redirects=False,  # a redirected POST becomes a GET: the answer is 200, and nobody received the message
)
_caught: ContextVar[list[str] | None] = ContextVar("_caught", default=None)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Channel:
    """One address. ``label`` is what may be shown: scheme and host, and a number where an owner has two such.

    Among the channels of several owners it also says whose it is.
    """

    label: str
    address: str = field(repr=False)
    service: NotifyBase = field(repr=False, compare=False)
    is_slack_compatible: bool

    def send(self, message: Message) -> str | None:
        """Send, and say why it was not taken, or None where it was. Never raises; never shows the address."""
        has_title = self.service.title_maxlen > 0 and not self.is_slack_compatible
        room = self.service.body_maxlen
        if self.service.notify_format != NotifyFormat.TEXT:
            room //= 2  # Apprise escapes the text, which makes it longer
        body = fit(message, room, is_escaped=self.is_slack_compatible, has_subject=not has_title)
        title = cut(message.subject, self.service.title_maxlen) if has_title else ""
        apprise = Apprise(asset=_ASSET)
        apprise.add(self.service)
        with _caught_logs() as said:
            try:
                is_taken = apprise.notify(
                    body=body, title=title, notify_type=NotifyType(message.kind), body_format=NotifyFormat.TEXT
                )
            except Exception as error:  # a service may raise what it likes: the message then was not taken
                is_taken = False
                said.append(f"{type(error).__name__}: {error}")
        if is_taken:
            return None
        return redacted(" ".join(said) or "the service did not take it", self.address)


@dataclass(frozen=True)
class Channels:
    """The channels of each owner, in the file's order."""

    path: Path
    by_owner: dict[str, tuple[Channel, ...]]

    def of(self, owner: str) -> tuple[Channel, ...]:
        """Where this owner's alerts go: the owner's own channels, else the default ones, else none.

        Of several owners, those of each, and an address that several have once.
        """
        names = owners_in(owner)
        found: dict[str, Channel] = {}
        for name in names:
            whose = name if name in self.by_owner else DEFAULT
            for channel in self.by_owner.get(whose, ()):
                # By its owner, not by a number: one who is given a channel between two tries must not change what the
                # channels of the others are called, or it would count as having taken what they took.
                label = channel.label if len(names) == 1 else f"{channel.label} of {whose}"
                found.setdefault(channel.address, replace(channel, label=label))
        return tuple(found.values())


def owners_in(owner: str) -> list[str]:
    """The owners in a text that names one, or several with commas between, as a test of several models has them."""
    return [name.strip() for name in owner.split(",")]


def unknown_owners(names: Iterable[str]) -> str | None:
    """What to say where some of these are no owners of anything in the project; None where all are."""
    if unknown := sorted({*names} - project_owners() - {DEFAULT}):
        known = ", ".join(sorted(project_owners()))
        return f"no owner {', '.join(unknown)} in models/_groups.yml or the contract; there are {known}"
    return None


def load_channels(settings: Settings) -> Channels:
    """Read the channels file; without one, nobody has a channel.

    An owner in it whom nothing in the project belongs to is warned of once, as after a change of a team's name: all
    others' alerts must go on. Raises :class:`TidemarkError` where others may read the file, or where it or an address
    in it cannot be understood.
    """
    path = settings.channels
    try:
        mode = path.stat().st_mode
        if not is_private(path):
            raise TidemarkError(
                f"{path} holds secrets and others may use it (mode {stat.S_IMODE(mode):04o}); `chmod 600 {path}`"
            )
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Channels(path, {})
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise TidemarkError(f"{path} cannot be read: {why}; give it to the user who runs this, as UTF-8") from None
    by_owner = {owner: _channels(path, owner, given) for owner, given in _parse(path, text).items()}
    if wrong := unknown_owners(by_owner):
        _warn(f"{path}: {wrong}")
    return Channels(path, by_owner)


@cache
def _warn(text: str) -> None:
    """Once in this process: the file is read at each sending."""
    log.warning(text)


def _parse(path: Path, text: str) -> dict[str, list[str]]:
    """The file as owner to addresses. Errors never quote the text."""
    try:
        parsed = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise TidemarkError(f"{path}{where}: not YAML; write `owner:` and below it a list of addresses") from None
    if parsed is None:
        return {}
    if not isinstance(parsed, dict) or not all(isinstance(owner, str) for owner in parsed):
        raise TidemarkError(f"{path}: must be a mapping of owners to lists of addresses")
    for owner, given in parsed.items():
        if not isinstance(given, list) or not given or not all(isinstance(address, str) for address in given):
            raise TidemarkError(f"{path}, owner {owner}: must be a list of at least one address, each a string")
    return parsed


def _channels(path: Path, owner: str, addresses: list[str]) -> tuple[Channel, ...]:
    labels: Counter[str] = Counter()
    channels = []
    for position, address in enumerate(addresses, start=1):
        service = _service(address)
        if service is None:
            raise TidemarkError(
                f"{path}, owner {owner}, address {position}: Apprise cannot understand it; docs/guides/alerts.md shows "
                "how addresses are written (the address is not shown here: it may hold a secret)"
            )
        label = _label(address, service)
        labels[label] += 1
        if labels[label] > 1:
            label = f"{label} ({labels[label]})"
        channels.append(Channel(label, address, service, _scheme(address) in SLACK_SCHEMES))
    return tuple(channels)


def _service(address: str) -> NotifyBase | None:
    scheme = _scheme(address)
    if scheme in SLACK_SCHEMES:
        rest = address.partition("://")[2]
        address = f"{SLACK_SCHEMES[scheme]}://{rest}{'&' if '?' in rest else '?'}{SLACK_BODY}"
    with _caught_logs():
        try:
            service = Apprise.instantiate(address, asset=_ASSET)
        except Exception:  # whatever its parser stumbled over, it may quote the address
            return None
    if not isinstance(service, NotifyBase):
        return None
    given = parse_qs(urlsplit(address).query)
    if "cto" not in given:
        service.socket_connect_timeout = TIMEOUT_SECONDS
    if "rto" not in given:
        service.socket_read_timeout = TIMEOUT_SECONDS
    service.optional = False  # `optional=yes` would count a failure as sent
    return service


def _scheme(address: str) -> str:
    return address.partition("://")[0].lower()


def _label(address: str, service: NotifyBase) -> str:
    """Scheme and host; the scheme alone where a token stands in the host's place, as in slack://TOKEN/..."""
    scheme = _scheme(address)
    forms: tuple[str, ...] = service.templates
    # Some services have both forms, as ntfy://TOPIC and ntfy://HOST/TOPIC: which of them this is, they do not say.
    if not all("{host}" in form for form in forms):
        return f"{scheme}://"
    return f"{scheme}://{service.host}" + (f":{service.port}" if service.port else "")


def redacted(text: str, address: str) -> str:
    """The text without any part of the address but its scheme."""
    parts = re.split(r"[/?&=:@,;#\s]", address.partition("://")[2])
    for part in sorted({*parts, *map(unquote, parts)}, key=len, reverse=True):
        if len(part) >= 3:
            text = re.sub(re.escape(part), "***", text, flags=re.IGNORECASE)
    return text


class _Catch(logging.Filter):
    """Keeps what Apprise and urllib3 log while we use them: below INFO they log whole addresses."""

    def filter(self, record: logging.LogRecord) -> bool:
        caught = _caught.get()
        if caught is None:
            return True
        if record.name == "apprise" and record.levelno >= logging.WARNING:
            caught.append(record.getMessage())
        return False


# A logger's filter sees only what is logged to that very logger.
for _name in ("apprise", "urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_Catch())


@contextmanager
def _caught_logs() -> Iterator[list[str]]:
    caught: list[str] = []
    token = _caught.set(caught)
    try:
        yield caught
    finally:
        _caught.reset(token)
