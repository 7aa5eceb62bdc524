"""A webhook that keeps what it was sent, and a problem to send."""

import http.server
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from flows.alerts.notify import Problem

NOW = datetime(2026, 11, 22, 5, 12, tzinfo=UTC)
PROBLEM = Problem(
    key="test:test.tidemark.fct_sessions_has_valid_rows",
    scope="build",
    title="test fct_sessions_has_valid_rows failed",
    owner="audience",
    since=NOW - timedelta(minutes=12),
    detail="broken rules, with rows: engaged_seconds is not negative (1204)",
    rows=1204,
    reproduce="tidemark build -- --select fct_sessions_has_valid_rows",
    link="http://tidemark.example/runs/1",
)


class Hook(http.server.ThreadingHTTPServer):
    """A webhook: keeps what it was sent as (path, body), and answers with ``status``, after ``seconds``."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        self.bodies: list[tuple[str, Any]] = []
        self.requests = 0
        self.status = 200
        self.seconds = 0.0
        super().__init__(("127.0.0.1", port), _Answer)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def at(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    @property
    def texts(self) -> list[str]:
        """The first line of each message that was taken, in order."""
        return [(body.get("text") or body["message"]).splitlines()[0] for _, body in self.bodies]

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class _Answer(http.server.BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests += 1
        time.sleep(self.server.seconds)
        if 200 <= self.server.status < 300:
            self.server.bodies.append((self.path, body))
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("location", "/login")
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass
