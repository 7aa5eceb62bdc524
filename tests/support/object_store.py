"""An S3-compatible store for tests: moto's server on loopback, with whatever goes wrong in front of it."""

import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

KEY_ID, SECRET = "AKIATIDEMARKTESTS", "a+secret/of the tests"

Environ = dict[str, Any]
# What is answered in the store's place: status, headers and body; None where the store answers.
Answer = tuple[str, list[tuple[str, str]], bytes] | None


@dataclass
class Asked:
    """A request: its method, the key below the bucket, and its query."""

    method: str
    key: str
    query: str
    environ: Environ = field(repr=False)


@dataclass
class ObjectStore:
    """A store with one bucket."""

    endpoint: str
    bucket: str
    client: Any
    # What is done before and after each request. ``before`` may answer it.
    before: Callable[[Asked], Answer] = lambda asked: None
    after: Callable[[Asked], None] = lambda asked: None
    # What becomes of a body that the store sends.
    body: Callable[[Asked, bytes], bytes] = lambda asked, sent: sent
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address of the bucket."""
        return f"s3://{self.bucket}"

    @property
    def variables(self) -> dict[str, str]:
        """The environment by which a client reaches it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def put(self, key: str, body: bytes) -> None:
        """Put an object, as others do."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body)

    def delete(self, key: str) -> None:
        """Delete an object, as others do."""
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def objects(self) -> dict[str, bytes]:
        """All objects, with their bytes."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
        return {key: self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}

    def heal(self) -> None:
        """Let nothing go wrong any more, and forget what was asked."""
        self.before = lambda asked: None
        self.after = lambda asked: None
        self.body = lambda asked, sent: sent
        self.asked.clear()


def refusal(status: str, code: str) -> Answer:
    """An answer of a store that refuses."""
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}, says the store</Message></Error>"
    return status, [("Content-Type", "application/xml"), ("Content-Length", str(len(text)))], text.encode()


@contextmanager
def served_object_store() -> Iterator[ObjectStore]:
    """A store of its own bucket. Conditions on a PUT are held, whatever comes at once."""
    import botocore.session  # noqa: PLC0415 (who tests nothing of it does without)
    from botocore.config import Config  # noqa: PLC0415
    from moto.server import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415
    from werkzeug.serving import make_server  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto, one_at_a_time = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def answer(environ: Environ, start: Any) -> Iterable[bytes]:
        path = unquote(environ.get("RAW_URI", environ["PATH_INFO"]).partition("?")[0])
        key = path.removeprefix(f"/{store.bucket}").removeprefix("/")
        asked = Asked(environ["REQUEST_METHOD"], key, environ.get("QUERY_STRING", ""), environ)
        store.asked.append(asked)
        if given := store.before(asked):
            status, headers, body = given
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start(status, headers)
            return [body]
        with one_at_a_time:
            sent = b"".join(moto(environ, start))
        store.after(asked)
        return [store.body(asked, sent) if asked.method == "GET" else sent]

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.port}"
    client = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    store = ObjectStore(endpoint, f"b-{uuid.uuid4().hex[:12]}", client)
    client.create_bucket(Bucket=store.bucket)
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()


def load_httpfs(db: Any) -> None:
    """Load DuckDB's client of object stores from its package."""
    import duckdb_extension_httpfs as packaged  # noqa: PLC0415

    (found,) = Path(packaged.__file__ or "").parent.rglob("*.duckdb_extension")
    db.execute(f"load '{found}'")
