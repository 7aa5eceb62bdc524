"""What is declared of a bucket, and of the objects in it that are files of a dataset."""

import os
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from flows.contract.spec import DatasetSpec
from flows.extract.source import Connection, Extract, Source, Variable

# Variables of AWS's own that are secret, or half of what is.
SECRET = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class Bucket(Connection):
    """A bucket: the environment variable that holds its address, ``s3://bucket/prefix``.

    Endpoint, region and credentials are those of AWS's own variables (``AWS_ENDPOINT_URL``, ``AWS_REGION``,
    ``AWS_ACCESS_KEY_ID`` and so on), unless others are named here.
    """

    kind: Literal["s3"]
    url_from: Variable
    endpoint_url_from: Variable | None = None
    region_from: Variable | None = None
    access_key_id_from: Variable | None = None
    secret_access_key_from: Variable | None = None
    session_token_from: Variable | None = None

    @model_validator(mode="after")
    def _has_both(self) -> "Bucket":
        if (self.access_key_id_from is None) != (self.secret_access_key_from is None):
            raise ValueError("access_key_id_from and secret_access_key_from are named both, or neither")
        if self.session_token_from and not self.access_key_id_from:
            raise ValueError("session_token_from goes with access_key_id_from and secret_access_key_from")
        return self

    def variables(self) -> tuple[str, ...]:
        """The variables that it names."""
        named = (self.url_from, self.endpoint_url_from, self.region_from, *self._secret())
        return tuple(name for name in named if name)

    def _secret(self) -> tuple[str | None, ...]:
        return (self.access_key_id_from, self.secret_access_key_from, self.session_token_from)

    def secrets(self) -> Iterator[str]:
        """The credentials: where a bucket is may be said."""
        for name in (*SECRET, *self._secret()):
            if name and (value := os.environ.get(name)):
                yield value


class Objects(Extract):
    """The objects that are files of a dataset, in a format that landing takes: ``path`` is below the prefix of the
    address, with ``*`` for a part of a name, and ``**`` for folders of any depth."""

    decides: ClassVar = frozenset({"path"})

    path: str = Field(min_length=1)

    def faults(self, spec: DatasetSpec) -> Iterator[str]:
        """What is wrong with the path."""
        if self.path.startswith("/"):
            yield "path: it is below the prefix of the address; write it without a slash at the beginning"
        if any("**" in part and part != "**" for part in self.path.split("/")):
            yield "path: ** stands for folders, alone between two slashes: web/**/*.parquet"
        if not self.path.isprintable():
            yield "path: it has a line break or a control character in it"


class ObjectStoreSource(Source):
    """The files that are fetched from one bucket."""

    reader: ClassVar = "flows.extract.object_store.objects"
    delivers_as_is: ClassVar = True

    connection: Bucket
    extracts: dict[str, Objects] = Field(min_length=1)
