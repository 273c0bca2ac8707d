"""A loopback webhook receiver, so that the demo's notifications have somewhere to arrive.

    python -m whisper_retrain.local.stack.receiver --port PORT --file FILE

Each POSTed JSON body is one line of FILE, with the time and the path it came in at; the same body
twice is two lines, so that a doubled notification is seen. While the file `FILE.down-until` holds
a time (seconds since 1970) in the future, POSTs are answered 500 and not stored: a receiver that
is broken for a while. GET /health says "ok", GET / lists what was received.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MAX_BODY_BYTES = 1 << 20


class Inbox:
    """The file of received notifications."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.down_file = file.with_name(f"{file.name}.down-until")
        self._lock = threading.Lock()

    def is_down(self) -> bool:
        """Whether it plays broken now."""
        try:
            return time.time() < float(self.down_file.read_text())
        except (FileNotFoundError, ValueError):
            return False

    def store(self, path: str, body: object) -> None:
        """Append one notification; on disk before it is acknowledged."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"at": at, "path": path, "body": body}, ensure_ascii=False)
        with self._lock, self.file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def received(self) -> list[object]:
        """All notifications so far, oldest first."""
        if not self.file.exists():
            return []
        return [json.loads(line) for line in self.file.read_text("utf-8").splitlines()]


class Server(ThreadingHTTPServer):
    """The HTTP server; each handler reaches the inbox through it."""

    daemon_threads = True

    def __init__(self, port: int, inbox: Inbox) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.inbox = inbox


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_GET(self) -> None:
        """Health, or what was received."""
        if self.path == "/health":
            self._answer(200, {"status": "ok"})
        elif self.path == "/":
            self._answer(200, self.server.inbox.received())
        else:
            self._answer(404, {"error": "GET / or /health, POST anywhere"})

    def do_POST(self) -> None:
        """Store one JSON body."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            self.close_connection = True
            return self._answer(413, {"error": f"more than {MAX_BODY_BYTES} bytes"})
        raw = self.rfile.read(length)
        if self.server.inbox.is_down():
            return self._answer(500, {"error": "down for a while, as asked"})
        try:
            body = json.loads(raw)
        except ValueError as error:
            return self._answer(400, {"error": f"not JSON: {error}"})
        self.server.inbox.store(self.path, body)
        return self._answer(200, {"status": "stored"})

    def _answer(self, status: int, body: object) -> None:
        data = json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--file", type=Path, required=True)
    arguments = parser.parse_args()
    Server(arguments.port, Inbox(arguments.file)).serve_forever()


if __name__ == "__main__":
    main()
