"""Who asks: what authorises requests to an API, and how it is got."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote_plus

import httpx

from flows.errors import TidemarkError
from flows.extract.api.declared import Api, Bearer, Header, OAuth

# What a header can hold. A client that finds another character says the whole value.
HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


@dataclass
class Authorisation:
    """The headers of requests, and where they are a token's: how one is fetched. Nothing of it is ever said."""

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    token_url: httpx.URL | None = field(default=None, repr=False)
    client: tuple[str, str] = field(default=("", ""), repr=False)
    scope: str | None = None

    @property
    def is_used(self) -> bool:
        """Whether requests say who asks."""
        return self.may_renew or bool(self.headers)

    @property
    def may_renew(self) -> bool:
        """Whether another token can be had."""
        return self.token_url is not None

    @property
    def is_there(self) -> bool:
        """Whether requests can be made."""
        return self.token_url is None or bool(self.headers)

    def forget(self) -> None:
        """Have the next request fetch another token."""
        self.headers = {}

    def requests(self) -> Iterator[dict[str, Any]]:
        """How to ask for a token: as RFC 6749 has each server take it, and then as many take it instead."""
        form = {"grant_type": "client_credentials"} | ({"scope": self.scope} if self.scope else {})
        name, secret = self.client
        basic = _basic(quote_plus(name), quote_plus(secret))
        yield {"url": self.token_url, "data": form, "headers": {"Authorization": basic}}
        yield {"url": self.token_url, "data": form | {"client_id": name, "client_secret": secret}}

    def take(self, answer: Any, what: str) -> None:
        """Take the token of an answer."""
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not HEADER_VALUE.fullmatch(token):
            raise TidemarkError(f"{what} answers without an access_token that a header can hold")
        self.headers = {"Authorization": f"Bearer {token}"}


def authorisation(source: str, connection: Api) -> tuple[httpx.URL, Authorisation]:
    """The address of an API, without a user in it, and what authorises requests there."""
    auth = connection.auth
    url = _address(source, connection, connection.url_from)
    user, password = url.username, url.password
    url = url.copy_with(userinfo=b"")
    if auth and user:
        raise TidemarkError(f"{source}: {connection.url_from} has a user, and `auth` says another; keep one of them")
    if user:
        made = Authorisation({"Authorization": _basic(user, password)})
    elif isinstance(auth, Bearer):
        made = Authorisation({"Authorization": f"Bearer {_value(source, connection, auth.token_from)}"})
    elif isinstance(auth, Header):
        made = Authorisation({auth.name: _value(source, connection, auth.value_from)})
    elif isinstance(auth, OAuth):
        token_url = _address(source, connection, auth.token_url_from)
        client = (connection.value(source, auth.client_id_from), connection.value(source, auth.client_secret_from))
        made = Authorisation(token_url=token_url, client=client, scope=auth.scope)
        _check_encrypted(source, auth.token_url_from, token_url)
    else:
        return url, Authorisation()
    _check_encrypted(source, connection.url_from, url)
    return url, made


def _value(source: str, connection: Api, name: str) -> str:
    value = connection.value(source, name)
    if HEADER_VALUE.fullmatch(value):
        return value
    raise TidemarkError(f"{source}: {name} has what no header can hold: a blank or line end around it, or beyond ASCII")


def _address(source: str, connection: Api, name: str) -> httpx.URL:
    """The address in a variable. A part of a password must not be taken for something else, and said."""
    given = connection.value(source, name).strip()
    rest = given.partition("://")[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    try:
        url = httpx.URL(given)
        if url.scheme in ("http", "https") and url.host and rest.count("@") == authority.count("@") < 2:
            return url.copy_with(fragment=None)
    except httpx.InvalidURL:
        pass
    raise TidemarkError(
        f"{source}: {name} is no address: write https://HOST/PATH; in a password / @ # ? : as %2F %40 %23 %3F %3A"
    )


def _check_encrypted(source: str, name: str, url: httpx.URL) -> None:
    """Raise :class:`TidemarkError` where what authorises could be read on its way."""
    if url.scheme == "http" and not is_here(url.host):
        raise TidemarkError(f"{source}: {name} begins with http, where all on the way read credentials; write https")


def is_here(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
