"""Reading requests, and answers that come page by page."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlencode

from fastapi import Request
from fastapi.responses import JSONResponse

from tests.minihub.errors import HubError
from tests.minihub.hub import Hub


async def json_body(request: Request) -> dict:
    try:
        data = json.loads(await request.body() or b"{}")
    except ValueError:
        raise HubError(400, "Invalid JSON body") from None
    if not isinstance(data, dict):
        raise HubError(400, "Invalid JSON body")
    return data


def page(hub: Hub, request: Request, items: list, size: int) -> JSONResponse:
    """Cursor pages with a `Link: <…>; rel="next"` header."""
    start = int(request.query_params.get("cursor") or 0)
    headers = {}
    if start + size < len(items):
        query = [(key, value) for key, value in parse_qsl(request.url.query) if key != "cursor"]
        query.append(("cursor", start + size))
        headers["Link"] = f'<{hub.base(request)}{request.scope["path"]}?{urlencode(query)}>; rel="next"'
    return JSONResponse(items[start : start + size], headers=headers)
