"""Requests to an API: authorised, tried again where that may help, and each over within a time and a size.

Nothing of a request but what the declaration names is in a message: addresses may be signed, and answers are people's.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Self

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from flows.errors import TidemarkError
from flows.extract.api.answers import parsed
from flows.extract.api.authorisation import authorisation, is_here
from flows.extract.api.declared import Api
from flows.extract.errors import MayPassError

TRIES = 6
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.25, 30.0
# A server that asks for more has the whole run tried again later, by the job's own retries.
LONGEST_RETRY_AFTER_SECONDS = 300.0
REDIRECTS_AT_MOST = 5
# A page of rows as Python's objects takes several times as much.
ANSWER_BYTES = 64 << 20
MAY_PASS = frozenset({408, 425, 429})
# How a server of tokens refuses a client, or the way in which it says who it is.
REFUSED = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED)
HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "tidemark"}

# They say whole addresses, and headers.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class StatusError(TidemarkError):
    """An answer whose status says that no other try will help."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class _AgainError(MayPassError):
    """A request that may be made again, after so many seconds where the server says how many."""

    def __init__(self, text: str, seconds: float = 0.0) -> None:
        super().__init__(text)
        self.seconds = seconds


@dataclass(frozen=True)
class Answer:
    """What was answered: the JSON, from where, and of its header ``Link`` the next address, and whether it has any."""

    body: Any
    url: httpx.URL
    next_link: str | None
    has_links: bool


class Client(AbstractContextManager["Client"]):
    """Asks one API."""

    def __init__(self, source: str, connection: Api) -> None:
        self._seconds = connection.timeout
        self.url, self._authorisation = authorisation(source, connection)
        # How far this machine's clock is ahead of the server's, at the most.
        self.ahead = timedelta()
        self._runner = asyncio.Runner()
        # Where credentials are sent without encryption it is to this machine alone, and so through no proxy.
        is_direct = self._authorisation.is_used or is_here(self.url.host)
        self._http = httpx.AsyncClient(headers=HEADERS, timeout=None, mounts={"http://": None} if is_direct else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._http.aclose())
        self._runner.close()

    def get(self, url: httpx.URL, what: str) -> Answer:
        """The answer of an address of this API. ``what`` it is says messages.

        Raises :class:`MayPassError` where there is none after several tries, or :class:`StatusError`.
        """
        if not same_origin(url, self.url):
            raise TidemarkError(
                f"{what}: goes on at another server ({url.scheme}://{url.host}), which must not see what authorises "
                "this; where it is the right one, put its address into `url_from`"
            )
        return self._retrying(lambda: self._got(url, what))

    def _got(self, url: httpx.URL, what: str) -> Answer:
        at = url
        for _ in range(REDIRECTS_AT_MOST + 1):
            response, body = self._authorised(at, what)
            if not response.has_redirect_location:
                return Answer(_json(response, body, what), at, _next_link(response), bool(response.links))
            at = joined(at, response.headers["location"], what)
            if not same_origin(at, self.url):
                raise TidemarkError(
                    f"{what}: it is redirected to another server ({at.scheme}://{at.host}), which must not see what "
                    "authorises this; where it is the right one, put its address into `url_from`"
                )
        raise TidemarkError(f"{what}: it is redirected more than {REDIRECTS_AT_MOST} times")

    def _authorised(self, url: httpx.URL, what: str) -> tuple[httpx.Response, bytes]:
        """An answer that is no failure; where a token was refused, with another one."""
        for is_last in (False, True):
            if not self._authorisation.is_there:
                self._fetch_token(what)
            request = self._http.build_request("GET", url, headers=self._authorisation.headers)
            response, body = self._exchange(request, what)
            if response.status_code != HTTPStatus.UNAUTHORIZED or is_last or not self._authorisation.may_renew:
                break
            self._authorisation.forget()
        _check(response, what)
        return response, body

    def _fetch_token(self, what: str) -> None:
        what = f"{what}: the token's address"
        for request in self._authorisation.requests():
            response, body = self._exchange(self._http.build_request("POST", **request), what)
            if response.status_code not in REFUSED:
                break
        if response.has_redirect_location:
            raise TidemarkError(f"{what} redirects, which secrets must not follow; put the right one into its variable")
        if response.status_code in REFUSED:
            raise StatusError(
                f"{what} refuses the client and its secret ({response.status_code})", response.status_code
            )
        _check(response, what)
        self._authorisation.take(_json(response, body, what), what)

    def _exchange(self, request: httpx.Request, what: str) -> tuple[httpx.Response, bytes]:
        """A request's answer. Raises :class:`MayPassError` where there is none, or not all of it."""
        try:
            response, body = self._runner.run(self._exchanged(request, what))
        except TimeoutError as error:
            raise _AgainError(
                f"{what}: no whole answer within {self._seconds:g} s; `timeout` of the connection says how long to wait"
            ) from error
        except (httpx.ConnectError, httpx.ProxyError) as error:  # what it says is of the network
            raise _AgainError(f"{what}: cannot connect ({' '.join(str(error).split())})") from error
        except httpx.DecodingError as error:
            raise _AgainError(f"{what}: the answer is not compressed as it says") from error
        except httpx.InvalidURL as error:  # the client looks at where it is redirected to
            raise TidemarkError(f"{what}: where it leads on to is no address") from error
        except httpx.TransportError as error:  # may say bytes of the answer
            raise _AgainError(f"{what}: the connection broke ({type(error).__name__})") from error
        self._compare_clocks(response)
        return response, body

    async def _exchanged(self, request: httpx.Request, what: str) -> tuple[httpx.Response, bytes]:
        # One time for all of it: a body that drips is waited for no longer than one that does not come.
        async with asyncio.timeout(self._seconds):
            response = await self._http.send(request, stream=True, follow_redirects=False)
            try:
                body = await _body(response, what) if response.is_success else b""
            finally:
                await response.aclose()
        return response, body

    def _compare_clocks(self, response: httpx.Response) -> None:
        at = _date(response.headers.get("date"))
        if at is not None:
            self.ahead = max(self.ahead, datetime.now(UTC) - at)

    def _retrying(self, work: Callable[[], Answer]) -> Answer:
        retrying = Retrying(
            retry=retry_if_exception_type(_AgainError), stop=stop_after_attempt(TRIES), wait=_wait, reraise=True
        )
        return retrying(work)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.seconds if isinstance(error, _AgainError) else 0.0
    grown = wait_exponential_jitter(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS, jitter=FIRST_WAIT_SECONDS)
    return max(asked, grown(state))


def same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    """Whether two addresses are of one server."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def joined(url: httpx.URL, to: str, what: str) -> httpx.URL:
    """An address as it is written in an answer from another one."""
    try:
        return _plain(url.join(to), what)
    except httpx.InvalidURL as error:
        raise TidemarkError(f"{what}: where it leads on to is no address") from error


def _plain(url: httpx.URL, what: str) -> httpx.URL:
    """The address without a user in it, who would take the place of ours."""
    if url.scheme not in ("http", "https") or not url.host:
        raise TidemarkError(f"{what}: where it leads on to is no address of http")
    return url.copy_with(userinfo=b"", fragment=None)


async def _body(response: httpx.Response, what: str) -> bytes:
    """A body of bounded size: of compressed ones only gzip, which grows a thousandfold at the most."""
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise TidemarkError(f"{what}: the answer is compressed in a way that was not asked for")
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > ANSWER_BYTES:
            raise TidemarkError(
                f"{what}: an answer has more than {ANSWER_BYTES >> 20} MiB; ask for fewer rows a page, by the "
                "parameter that the API has for it"
            )
    return bytes(body)


def _check(response: httpx.Response, what: str) -> None:
    """Raise what the status of an answer means."""
    status = response.status_code
    if response.is_success or response.has_redirect_location:
        return
    said = f"{what}: answered {status} ({httpx.codes.get_reason_phrase(status) or 'no known status'})"
    if status in MAY_PASS or response.is_server_error:
        seconds = _retry_after(response)
        if seconds > LONGEST_RETRY_AFTER_SECONDS:
            raise MayPassError(f"{said}, to be asked again in {seconds:,.0f} s")
        raise _AgainError(said, seconds)
    remedies: dict[int, str] = {
        HTTPStatus.BAD_REQUEST: "look at the parameters and the paging",
        HTTPStatus.UNAUTHORIZED: "its credentials are not, or no longer, right",
        HTTPStatus.FORBIDDEN: "its credentials may not see this",
        HTTPStatus.NOT_FOUND: "look at the address and the path",
    }
    raise StatusError(f"{said}; {remedies.get(status, 'no other try helps')}", status)


def _json(response: httpx.Response, body: bytes, what: str) -> Any:
    """The JSON of an answer. What is none may be half of one, or the page of a server before the API."""
    if response.status_code == HTTPStatus.NO_CONTENT:
        return None
    try:
        return parsed(body)
    except ValueError as error:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        known = kind if kind in ("application/json", "text/html", "text/plain") else "another content type"
        raise _AgainError(f"{what}: the answer ({known}) is no JSON that can be read, or not all of it") from error


def _next_link(response: httpx.Response) -> str | None:
    """The address that RFC 8288 calls next."""
    for link in response.links.values():
        if "next" in (link.get("rel") or "").lower().split():
            return link.get("url")
    return None


def _retry_after(response: httpx.Response) -> float:
    """The seconds that a server asks to wait: a number of them, or until a date."""
    said = response.headers.get("retry-after", "").strip()
    if said.isdecimal():
        return float(said)
    until = _date(said)
    now = _date(response.headers.get("date")) or datetime.now(UTC)
    return max((until - now).total_seconds(), 0.0) if until else 0.0


def _date(text: str | None) -> datetime | None:
    """A date of HTTP; None where it is none."""
    try:
        at = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)
