"""Run a local Hub: python -m tests.minihub --root DIR."""

from __future__ import annotations

import argparse
import socket
import sys
import traceback
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from tests.minihub import accounts, admin, commits, discussions, files, info, spaces, trees, uploads, xet
from tests.minihub.errors import HubError
from tests.minihub.gate import Gate
from tests.minihub.hub import Hub, Token


def build_app(hub: Hub) -> FastAPI:
    app = FastAPI(title="minihub", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)

    @app.exception_handler(HubError)
    async def _hub_error(request: Request, e: HubError):
        return e.response()

    @app.exception_handler(ClientDisconnect)
    async def _client_gone(request: Request, e: ClientDisconnect):
        """A client that ended while it sent: here, as the handler below would take it for an error of ours."""
        return Response(status_code=499)  # for the log; nobody hears it

    @app.exception_handler(404)
    async def _no_route(request: Request, e):
        return HubError(404, f"minihub has no route for {request.method} {request.url.path}").response()

    @app.exception_handler(405)
    async def _no_method(request: Request, e):
        return HubError(405, f"minihub: method {request.method} not allowed for {request.url.path}").response()

    @app.exception_handler(Exception)
    async def _crash(request: Request, e: Exception):
        traceback.print_exc()
        return HubError(500, f"minihub bug: {type(e).__name__}: {e}").response()

    app.state.hub = hub
    for part in (accounts, info, discussions, spaces, trees, files, uploads, commits, xet, admin):
        app.include_router(part.router)
    return app


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--host", default="127.0.0.1")
    ap.add_argument("--port", type=int, default=8777)
    ap.add_argument("--fd", type=int, help="a listening socket to use instead of host and port")
    ap.add_argument("--root", type=Path, required=True, help="storage folder (made if missing)")
    ap.add_argument("--token", action="append", metavar="SECRET=USER[:read|write]", help="repeatable")
    ap.add_argument("--org", action="append", default=[], metavar="ORG=USER[,USER]", help="repeatable")
    ap.add_argument(
        "--cdn",
        choices=("auto", "same"),
        default="auto",
        help="auto: file contents from another origin (127.0.0.1 <-> localhost); same: from this one",
    )
    ap.add_argument("--no-xet", action="store_true", help="answer 404 to Xet token requests")
    args = ap.parse_args()
    members: dict[str, list[str]] = {}
    for spec in args.org:
        org, _, users = spec.partition("=")
        for u in users.split(","):
            members.setdefault(u, []).append(org)
    tokens = []
    for spec in args.token or ["hf_write=alice:write", "hf_read=alice:read", "hf_bob=bob:write"]:
        secret, _, rest = spec.partition("=")
        user, _, role = rest.partition(":")
        tokens.append(Token(secret, user, role or "write", tuple(members.get(user, ()))))
    hub = Hub(args.root, tokens, args.cdn)
    hub.config["xet"] = not args.no_xet
    app = Gate(build_app(hub), hub)
    listener = socket.create_server((args.host, args.port)) if args.fd is None else socket.socket(fileno=args.fd)
    host, port = listener.getsockname()
    print(f"minihub on http://{host}:{port}  root={args.root}", file=sys.stderr, flush=True)
    config = uvicorn.Config(app, http="h11", log_level="warning", lifespan="off", timeout_keep_alive=30)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
