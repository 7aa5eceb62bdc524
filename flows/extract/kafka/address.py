"""The address of a cluster: an URL, of which nothing is said where it is wrong, since it has a password."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

FORM = "kafka://HOST:PORT, or kafka://USER:PASSWORD@HOST:PORT,HOST:PORT?security.protocol=SASL_SSL&sasl.mechanism=PLAIN"
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")
SECRET = re.compile(r"password|secret|token|jaas|\.pem$|oauthbearer\.config", re.IGNORECASE)
# What an extract relies on; see the client.
FIXED: Mapping[str, str | int | bool] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # To begin elsewhere than asked would be a gap that nobody sees.
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "check.crcs": True,
    # An idle partition is known to be so at once.
    "fetch.wait.max.ms": 10,
}


class AddressError(ValueError):
    """What is wrong with an address, without a part of it."""


def client_settings(url: str) -> dict[str, str | int | bool]:
    """What an address says, as librdkafka takes it. Raises :class:`AddressError`."""
    user, password, hosts, query = _parts(url)
    given = dict(query)
    if len(given) < len(query):
        raise AddressError("has a setting twice")
    if taken := sorted(given.keys() & {*FIXED, "bootstrap.servers", "metadata.broker.list", "sasl.username"}):
        raise AddressError(f"may not set {', '.join(taken)}")
    if user and "security.protocol" not in given:
        raise AddressError(
            "has a user, and does not say how they sign in: add ?security.protocol=SASL_SSL&sasl.mechanism=PLAIN, or "
            "SCRAM-SHA-512, as the cluster takes it"
        )
    signed_in = {"sasl.username": unquote(user), "sasl.password": unquote(password)} if user else {}
    return {"group.id": "tidemark", **given, **signed_in, "bootstrap.servers": hosts, **FIXED}


def secrets_of(url: str) -> Iterator[str]:
    """What of an address must be in no message: the whole, and its passwords, however they are written."""
    yield url
    authority, _, query = url.partition("://")[2].partition("?")
    password = authority.rpartition("@")[0].partition(":")[2]
    given = (part.partition("=") for part in query.split("&"))
    for secret in (password, *(value for name, _, value in given if SECRET.search(unquote(name)))):
        if secret:
            yield from {secret, unquote(secret)}


def _parts(url: str) -> tuple[str, str, str, list[tuple[str, str]]]:
    """User, password, hosts and settings of an address."""
    scheme, is_url, rest = url.partition("://")
    authority, _, query = rest.partition("?")
    authority = authority.removesuffix("/")
    if not is_url or scheme != "kafka":
        raise AddressError(f"is no address of Kafka: write {FORM}")
    if authority.count("@") > 1 or re.search(r"[/#\s]", authority) or ("@" in query and "@" not in authority):
        raise AddressError("is no address: in its password write / @ # ? : & % as %2F %40 %23 %3F %3A %26 %25")
    signed_in, _, hosts = authority.rpartition("@")
    if not all(HOST.fullmatch(host) for host in hosts.split(",")):
        raise AddressError(f"names no hosts: write {FORM}; in a password write / @ # ? : as %2F %40 %23 %3F %3A")
    user, _, password = signed_in.partition(":")
    settings = [part.partition("=") for part in query.split("&") if part]
    if any(not is_set or not name for name, is_set, _ in settings):
        raise AddressError("has settings that are not name=value&name=value; write & in a value as %26")
    return user, password, hosts, [(unquote(name), unquote(value)) for name, _, value in settings]
