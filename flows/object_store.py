"""A bucket of an S3-compatible store, below a prefix: list, read, write and delete, and errors that people understand.

What replaces a rename is a condition on one PUT: that there is no object of this key yet, or that it is still the one
that was looked at. More than one object cannot be changed in one step. The client is botocore, which comes with s3fs
(``pip install 'tidemark[sources]'``) and tries again what may pass; nothing of it is imported before a store is used.
"""

import base64
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from flows.errors import TidemarkError

URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?")
TRIES = 4
CONNECT_SECONDS, READ_SECONDS = 10, 60
CHUNK_BYTES = 1 << 20
MOST_DELETED = 1000
# What the store takes in one PUT.
MOST_BYTES = 5 * 1024**3
# A store that answers so is asked again; what answers may as well be a proxy before it.
MAY_PASS = frozenset({"SlowDown", "InternalError", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict"})
WRONG_KEYS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired"}
)
HIDDEN = "***"


class StoreError(TidemarkError):
    """A store refused something, or is not reached as it is to be."""


class StoreAwayError(StoreError):
    """A store does not answer, or not well: another try may help."""


class NotThereError(StoreError):
    """There is no such object (any more)."""


class NotAllowedError(StoreError):
    """The credentials have no right to this, or the store does not know how to do it."""


class ChangedError(StoreError):
    """An object is not what a condition says: there is one already, or another one."""


@dataclass(frozen=True)
class Access:
    """How a store is reached. What is None is as AWS's own variables and files say."""

    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Object:
    """An object: its key below the prefix, and what the store says of it."""

    key: str
    size: int
    etag: str
    changed_at: datetime


@dataclass(frozen=True)
class Body:
    """What an object holds: its bytes as they come, how many there are, and their MD5 where the store says it."""

    chunks: Iterator[bytes]
    size: int
    etag: str
    md5: str | None


def split_url(url: str) -> tuple[str, str]:
    """The bucket of a URL, and its prefix with a slash at the end, or ''. Raises :class:`ValueError` for another."""
    found = URL.fullmatch(url)
    if found is None:
        raise ValueError("is no address of a bucket: write s3://BUCKET or s3://BUCKET/PREFIX")
    prefix = (found["prefix"] or "").rstrip("/")
    return found["bucket"], prefix and f"{prefix}/"


class Store:
    """The objects of a bucket below a prefix. Keys are without the prefix. May be used by several threads.

    Each call raises :class:`StoreAwayError` where another one may help, and another :class:`StoreError` where it does
    not; no message has anything secret.
    """

    def __init__(self, url: str, access: Access = Access()) -> None:
        try:
            self._bucket, self._prefix = split_url(url)
        except ValueError as error:
            raise StoreError(f"{HIDDEN if '@' in url else url} {error}") from None
        self.url = f"s3://{self._bucket}/{self._prefix}".rstrip("/")
        _need_client()
        self._secrets: tuple[str, ...] = ()
        with self._understood("", "reached"):
            self._client, self._secrets = _client(access)

    def list(self, below: str = "") -> Iterator[Object]:
        """The objects whose keys begin so, in order of key."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=f"{self._prefix}{below}"
        )
        found = iter(pages)
        while True:
            with self._understood(below, "listed"):
                page = next(found, None)
            if page is None:
                return
            for one in page.get("Contents", ()):
                key = one["Key"].removeprefix(self._prefix)
                yield Object(key, one["Size"], one.get("ETag", ""), one["LastModified"])

    @contextmanager
    def opened(self, key: str) -> Iterator[Body]:
        """An object's bytes. Raises :class:`NotThereError` where there is none."""
        with self._understood(key, "read"):
            got = self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}{key}")
        try:
            yield Body(self._chunks(key, got), got["ContentLength"], got["ETag"], _md5_of(got))
        finally:
            got["Body"].close()

    def _chunks(self, key: str, got: Mapping[str, Any]) -> Iterator[bytes]:
        while True:
            with self._understood(key, "read"):
                chunk = got["Body"].read(CHUNK_BYTES)
            if not chunk:
                return
            yield chunk

    def read(self, key: str) -> tuple[bytes, str] | None:
        """The bytes of a small object, and its ETag; None where there is none."""
        try:
            with self.opened(key) as body:
                return b"".join(body.chunks), body.etag
        except NotThereError:
            return None

    def put_new(self, key: str, body: bytes | Path, sha256: str | None = None) -> None:
        """Make an object that is not there yet. Raises :class:`ChangedError` where it is."""
        self._put(key, body, sha256, {"IfNoneMatch": "*"})

    def put_over(self, key: str, body: bytes | Path, etag: str) -> None:
        """Put an object in the place of the one of this ETag. Raises :class:`ChangedError` where it is another one."""
        self._put(key, body, None, {"IfMatch": etag})

    def _put(self, key: str, body: bytes | Path, sha256: str | None, condition: Mapping[str, str]) -> None:
        checked = {"ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode()} if sha256 else {}
        with self._understood(key, "written"):
            where = {"Bucket": self._bucket, "Key": f"{self._prefix}{key}"}
            if isinstance(body, bytes):
                self._client.put_object(**where, **checked, **condition, Body=body)
                return
            if body.stat().st_size > MOST_BYTES:
                raise StoreError(f"{body} has more bytes than one PUT takes, which is {MOST_BYTES:,}")
            with body.open("rb") as file:
                self._client.put_object(**where, **checked, **condition, Body=file)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete these objects. Raises :class:`StoreError` where one of them cannot be."""
        left = [{"Key": f"{self._prefix}{key}"} for key in keys]
        while left:
            some, left = left[:MOST_DELETED], left[MOST_DELETED:]
            with self._understood("", "deleted"):
                done = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": some, "Quiet": True})
            for error in done.get("Errors", ()):
                raise StoreError(f"s3://{self._bucket}/{error.get('Key')} cannot be deleted ({error.get('Code')})")

    def versioning(self) -> str | None:
        """Whether the bucket keeps what is deleted: ``Enabled``, ``Suspended``, or None where it never did."""
        with self._understood("", "asked whether it keeps versions"):
            status: str | None = self._client.get_bucket_versioning(Bucket=self._bucket).get("Status")
            return status

    @contextmanager
    def _understood(self, key: str, done: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 (who has no store has no client)
        from botocore.parsers import ResponseParserError  # noqa: PLC0415

        what = f"{self.url}/{key}" if key else self.url
        try:
            yield
        except ClientError as error:
            raise self._without_secrets(_refused(error.response, what, done)) from None
        except (
            BotoCoreError,
            ResponseParserError,
            ValueError,
        ) as error:  # it takes a wrong address of an endpoint for a wrong value
            raise self._without_secrets(_failed(error, what, done)) from None

    def _without_secrets(self, error: StoreError) -> StoreError:
        text = str(error)
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return type(error)(text)


def _client(access: Access) -> tuple[Any, tuple[str, ...]]:
    """A client, and what of its credentials is in no message."""
    import botocore.session  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    session = botocore.session.get_session()
    endpoint = access.endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = access.region or os.environ.get("AWS_REGION") or session.get_config_variable("region") or "us-east-1"
    client = session.create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=access.access_key_id,
        aws_secret_access_key=access.secret_access_key,
        aws_session_token=access.session_token,
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": TRIES},
            # Stores other than AWS's seldom have a name for each bucket, nor the checksums that AWS has added.
            s3={"addressing_style": "path" if endpoint else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    credentials = session.get_credentials() if access.access_key_id is None else access
    known = [getattr(credentials, name, None) for name in ("secret_key", "token", "secret_access_key", "session_token")]
    return client, tuple(filter(None, known))


def _need_client() -> None:
    """Raise :class:`StoreError` where the client is not installed."""
    try:
        import botocore.session  # noqa: F401, PLC0415
    except ImportError:
        raise StoreError("the client of object stores is not installed; `pip install 'tidemark[sources]'`") from None


def _md5_of(got: Mapping[str, Any]) -> str | None:
    """The MD5 of an object, which is its ETag where it was put in one piece and is not encrypted with a key of one's
    own."""
    is_plain = got.get("ServerSideEncryption") in (None, "AES256") and not got.get("SSECustomerAlgorithm")
    etag = got["ETag"].strip('"')
    return etag if is_plain and re.fullmatch(r"[0-9a-f]{32}", etag) else None


def _refused(response: Mapping[str, Any], what: str, done: str) -> StoreError:
    """What an answer of the store means."""
    code = str(response.get("Error", {}).get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status == 412 or code == "PreconditionFailed":
        return ChangedError(f"{what} was changed by another meanwhile")
    if code == "NoSuchBucket":
        return StoreError(f"{what}: there is no such bucket; look at the address, and at that of the endpoint")
    if status == 404:
        return NotThereError(f"{what} is not there")
    if code in MAY_PASS or status >= 500 or status == 429:
        return StoreAwayError(f"{what} cannot be {done} now: the store answers {code or status}")
    if code in WRONG_KEYS:
        return StoreError(
            f"{what}: the store does not take the credentials ({code}); look at the variables of the access key, such "
            "as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and whether they are of this endpoint"
        )
    if code == "RequestTimeTooSkewed":
        return StoreError(f"{what}: the clock of this machine is wrong, says the store; set it right")
    if status == 403:
        return NotAllowedError(f"{what} may not be {done} with these credentials ({code}); give them the right to")
    if status in (405, 501) or code == "NotImplemented":
        return NotAllowedError(f"{what} cannot be {done}: the store does not know how ({code}); use one that does")
    said = " ".join(str(response.get("Error", {}).get("Message", "")).split())[:200]
    return StoreError(f"{what} cannot be {done}: the store answers {code or status} ({said})")


def _failed(error: Exception, what: str, done: str) -> StoreError:
    """What an error of the client means."""
    from botocore import exceptions as client  # noqa: PLC0415
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    said = " ".join(str(error).split())[:300]
    if isinstance(error, client.NoCredentialsError | client.PartialCredentialsError | client.CredentialRetrievalError):
        return StoreError(f"{what}: there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if isinstance(error, client.SSLError):
        return StoreError(f"{what} cannot be {done}: its certificate is not trusted ({said})")
    passing = (
        client.ConnectionError,
        client.HTTPClientError,
        client.IncompleteReadError,
        client.FlexibleChecksumError,
        ResponseParserError,  # of a page of a proxy, as it mostly is
    )
    if isinstance(error, passing):
        return StoreAwayError(f"{what} cannot be {done} now ({said})")
    return StoreError(f"{what} cannot be {done} ({type(error).__name__}: {said})")
