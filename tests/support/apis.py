"""A real REST API on loopback for tests, which can be told to misbehave."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

TOKEN = "tOkEn-of-the-tests-4711"
SECRET = "s3cret/of the+tests"

# What becomes of a request instead of its answer; False leaves it to the server.
Fault = Callable[["Handler"], bool]


class Api:
    """Lists of rows by path, the ways of paging that APIs have, and faults for requests by their number from 1."""

    def __init__(self) -> None:
        self.lists: dict[str, list[dict[str, Any]]] = {}
        self.sort: Callable[[dict[str, Any]], Any] | None = None
        self.is_by_cursor = True
        self.size = 3
        self.largest = 1_000
        self.header = ("Authorization", f"Bearer {TOKEN}")
        self.faults: dict[int, Fault] = {}
        self.each: Fault | None = None
        self.before: Callable[[int], None] = lambda number: None
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.headers: list[dict[str, str]] = []
        self.tokens: list[str] = []
        self.takes_basic = True
        self.lock = threading.Lock()
        self.url = ""

    def page(self, path: str, query: dict[str, str], here: str) -> tuple[Any, dict[str, str]]:
        """The answer to a request, and its headers."""
        rows = self.lists[path]
        if self.sort:
            rows = sorted(rows, key=self.sort)
        if since := query.get("updated_since"):
            rows = [row for row in rows if str(row["updated_at"]) >= since or not isinstance(row["updated_at"], str)]
            rows = [r for r in rows if isinstance(r["updated_at"], str) or r["updated_at"] >= int(since)]
        if self.is_by_cursor and not {"page", "offset"} & {*query}:
            # As a good API does it: by where it was in the order, not by how many were before.
            last = query.get("cursor")
            rows = [row for row in rows if last is None or str(self._place(row)) > last]
            page, rest = rows[: self.size], rows[self.size :]
            return {"data": page, "meta": {"next_cursor": str(self._place(page[-1])) if rest else None}}, {}
        if "offset" in query:
            start, size = int(query["offset"]), min(int(query["limit"]), self.largest)
            return {"data": rows[start : start + size]}, {}
        size = min(int(query.get("per_page", self.size)), self.largest)
        number = int(query.get("page", 1))
        page = rows[(number - 1) * size : number * size]
        following = f"{here}?{urlencode({**query, 'page': number + 1})}"
        has_more = number * size < len(rows)
        links = {"Link": f'<{here}>; rel="first", <{following}>; title="a, b"; rel="next"'} if has_more else {}
        return {"data": page, "links": {"next": following if has_more else None}}, links

    def _place(self, row: dict[str, Any]) -> Any:
        return self.sort(row) if self.sort else f"{self.lists['calls'].index(row):06d}"


class Handler(BaseHTTPRequestHandler):
    """One connection to the API."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api: Api
    number = 0

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer with a page, or misbehave."""
        api = self.api
        split = urlsplit(self.path)
        query = dict(parse_qsl(split.query))
        with api.lock:
            api.asked.append((split.path, query))
            api.headers.append(dict(self.headers.items()))
            self.number = len(api.asked)
        fault = api.faults.get(self.number) or api.each
        if fault and fault(self):
            return
        with api.lock:
            api.before(self.number)
            name, value = api.header
            if api.tokens:
                value = f"Bearer {api.tokens[-1]}"
            if name and self.headers.get(name) != value:
                self.answer(b'{"error": "who are you?"}', 401)
                return
            path = split.path.removeprefix("/v2/")
            if path not in api.lists:
                self.answer(b'{"error": "no such list"}', 404)
                return
            body, headers = api.page(path, query, f"{api.url}/{path}")
            self.answer(json.dumps(body, ensure_ascii=False).encode(), 200, **headers)

    def do_POST(self) -> None:
        """Give a token."""
        api = self.api
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        api.asked.append((self.path, {name: value[0] for name, value in form.items()}))
        api.headers.append(dict(self.headers.items()))
        if not api.takes_basic and "client_secret" not in form:
            self.answer(b'{"error": "invalid_client"}', 401)
            return
        api.tokens.append(f"token-{len(api.tokens)}-of-the-tests")
        self.answer(json.dumps({"access_token": api.tokens[-1], "token_type": "Bearer"}).encode())

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        """Answer, compressed where that is asked for."""
        if "gzip" in self.headers.get("Accept-Encoding", "") and status == 200:
            body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
        self.begin(status, {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers})
        self.wfile.write(body)

    def begin(self, status: int, headers: dict[str, str]) -> None:
        """The beginning of an answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def answers(status: int = 200, body: bytes = b"", **headers: str) -> Fault:
    """Answer with this."""

    def fault(handler: Handler) -> bool:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.begin(status, {"Content-Length": str(len(body)), **given})
        handler.wfile.write(body)
        return True

    return fault


def breaks_off(promised: int | None, body: bytes = b'{"data": [{"id": "c-') -> Fault:
    """Send the beginning of an answer of so many bytes, or of a length that is not said, and hang up."""

    def fault(handler: Handler) -> bool:
        length = {"Content-Length": str(promised)} if promised is not None else {"Connection": "close"}
        handler.begin(200, length)
        handler.wfile.write(body)
        handler.close_connection = True
        return True

    return fault


def waits(seconds: float, piece: bytes = b"") -> Fault:
    """Send a piece of a body every so many seconds and never end; without one, send nothing for that long."""

    def fault(handler: Handler) -> bool:
        if not piece:
            threading.Event().wait(seconds)
            handler.close_connection = True
            return True
        handler.begin(200, {"Content-Length": "1000000"})
        try:
            for _ in range(200):
                handler.wfile.write(piece)
                threading.Event().wait(seconds)
        except OSError:
            pass
        handler.close_connection = True
        return True

    return fault


@contextmanager
def served_api() -> Iterator[Api]:
    """An API that is served."""
    api = Api()
    handler = type("Served", (Handler,), {"api": api})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_port}/v2"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
