"""Answers in the shapes that the Hub's clients read: errors, pages, byte ranges, bounded bodies.

Knows HTTP and the clients' conventions; knows nothing of repositories or tokens.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

MAX_JSON_BYTES = 16 * 2**20  # a preupload of 256 files, or a README: far below this
CHUNK_BYTES = 2**20


class AnswerError(Exception):
    """An error answer; `code` is the X-Error-Code by which the client picks its exception."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.headers, self.body = dict(headers or {}), body


def bad_request(message: str) -> AnswerError:
    """The request itself is wrong; repeating it cannot help."""
    return AnswerError(400, message)


def error_answer(request: Request, error: Exception) -> Response:
    """Turn a AnswerError into the body and headers that `hf_raise_for_status` reads."""
    if not isinstance(error, AnswerError):
        raise error
    line = " ".join(error.message.split())
    headers = {"X-Error-Message": line.encode("ascii", "replace").decode(), **error.headers}
    if error.code is not None:
        headers["X-Error-Code"] = error.code
    if "text/html" in request.headers.get("accept", ""):
        return PlainTextResponse(f"{error.status}: {error.message}", error.status, headers)
    return JSONResponse({"error": error.message, **error.body}, error.status, headers)


async def json_body(request: Request) -> dict[str, Any]:
    """Read a JSON object of at most MAX_JSON_BYTES; 400 or 413 when it is anything else."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            raise AnswerError(413, f"Request body exceeds {MAX_JSON_BYTES} bytes")
    try:
        value = json.loads(body or b"{}")
    except ValueError as error:
        raise bad_request(f"Request body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise bad_request(f"Request body must be a JSON object, got {type(value).__name__}")
    return value


def endpoint(request: Request) -> str:
    """The address under which the client reached this server, for the links in answers."""
    return str(request.base_url).rstrip("/")


def page(request: Request, items: Sequence[Any], default_limit: int) -> tuple[Sequence[Any], str]:
    """Cut one page out of `items`; the second value is the Link header, "" on the last page."""
    query = request.query_params
    try:
        start, limit = int(query.get("cursor", 0)), int(query.get("limit", default_limit))
    except ValueError as error:
        raise bad_request(f"cursor and limit must be integers: {error}") from error
    if start < 0 or limit < 1:
        raise bad_request(f"cursor must be >= 0 and limit >= 1, got {start} and {limit}")
    if start + limit >= len(items):
        return items[start:], ""
    following = URL(str(request.url)).include_query_params(cursor=start + limit, limit=limit)
    return items[start : start + limit], f'<{following}>; rel="next"'


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte of a single-range Range header (RFC 9110, 14.2); None: send it all.

    Malformed and multiple ranges are ignored, as the RFC allows. One that lies past the end is 416.
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").strip())
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(size - int(last), 0), size - 1
    else:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
        if last and int(last) < start:
            return None
    if start >= size or (not first and int(last) == 0):
        past_end = {"Content-Range": f"bytes */{size}"}
        raise AnswerError(416, f"Range {header} lies outside {size} bytes", headers=past_end)
    return start, end


def file_answer(
    request: Request, content: IO[bytes], size: int, headers: Mapping[str, str]
) -> Response:
    """Send an open file, or the range asked for, in chunks; closes it when done."""
    wanted = None
    if request.headers.get("if-range") in (None, headers.get("ETag")):
        try:
            wanted = byte_range(request.headers.get("range"), size)
        except AnswerError:
            content.close()
            raise
    start, end = wanted or (0, size - 1)
    answer = {**headers, "Accept-Ranges": "bytes", "Content-Length": str(end - start + 1)}
    if wanted:
        answer["Content-Range"] = f"bytes {start}-{end}/{size}"
    status = 206 if wanted else 200
    if request.method == "HEAD":
        content.close()
        return Response(status_code=status, headers=answer)
    return StreamingResponse(_chunks(content, start, end - start + 1), status, answer)


def _chunks(content: IO[bytes], start: int, length: int) -> Iterator[bytes]:
    with content:
        content.seek(start)
        while length > 0 and (chunk := content.read(min(CHUNK_BYTES, length))):
            length -= len(chunk)
            yield chunk
