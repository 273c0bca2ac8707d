"""Run the Hub server alone: `python -m loopback_hub --data D --port P --tokens F`.

Binds 127.0.0.1 only. Once it answers, it prints one JSON line: {"endpoint": "http://127.0.0.1:P"}.
"""

import argparse
import json
import logging
import socket
import sys
from pathlib import Path

import uvicorn

from loopback_hub.access import load_tokens
from loopback_hub.app import create_app
from loopback_hub.calls import HubState
from loopback_hub.repos import Repos

HOST = "127.0.0.1"
# Clients keep connections for a while, and do not retry a commit that meets a closing one.
KEEP_ALIVE_S = 75


class Server(uvicorn.Server):
    """A server that says where it is once it answers."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then print the ready line."""
        await super().startup(sockets)
        for bound in sockets or []:
            print(json.dumps({"endpoint": f"http://{HOST}:{bound.getsockname()[1]}"}), flush=True)


def main() -> None:
    """Read the arguments, open the data folder, serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="loopback_hub", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of repositories")
    parser.add_argument("--port", type=int, required=True, help="TCP port; 0 takes a free one")
    parser.add_argument(
        "--tokens", type=Path, required=True, help="JSON: token -> {user, role: read|write, orgs}"
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        bound = _bind(args.port)
        hub = HubState(_open(args.data), load_tokens(args.tokens))
    except (OSError, ValueError) as error:
        sys.exit(f"The Hub server cannot start: {error}")
    config = uvicorn.Config(
        create_app(hub),
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=5,
    )
    Server(config).run(sockets=[bound])


def _bind(port: int) -> socket.socket:
    # Only a socket that says it is TCP gets TCP_NODELAY from asyncio: 40 ms less a request.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError as error:
        raise OSError(f"port {port} on {HOST} is not free ({error}): choose another") from error
    return bound


def _open(data: Path) -> Repos:
    try:
        return Repos(data)
    except BlockingIOError as error:
        raise OSError(f"another Hub server uses {data}: stop it first") from error


if __name__ == "__main__":
    main()
