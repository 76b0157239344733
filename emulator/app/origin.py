# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps web pages of other sites away from the emulator, and bounds what one request may take.

A browser on the same machine can send requests to a loopback address for any page it shows. Three rules refuse them:
the `Host` must be an address, `localhost` or an allowed name (against DNS rebinding), an `Origin` must be the server's
own, and what the browser itself marks as sent by another site (`Sec-Fetch-Site`) may only open a page. SDKs send none
of the two headers and are not affected.
"""

import asyncio
import ipaddress
import re
import time
from collections.abc import Collection

from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from emulator.core.google_rest import ApiError

MAX_REQUEST_BYTES, MAX_UPLOAD_BYTES = 32 << 20, 2 << 30
BODY_TIMEOUT_S, SLOWEST_BYTES_PER_S = 20.0, 10_000.0


def check_origin(request: Request, allowed_hosts: Collection[str]) -> None:
    """`ApiError` 403 for a request of another site's page."""
    headers = request.headers
    host, origin = headers.get("host", "localhost"), headers.get("origin")
    if not _is_own(host, {"localhost", *map(str.lower, allowed_hosts)}):
        name = host[:200]
        raise ApiError(403, f"The emulator does not answer as {name!r}; start it with --allow-host {name}.")
    if origin is not None and origin.lower() != f"{request.scope['scheme']}://{host}".lower():
        raise ApiError(403, f"The emulator answers no pages of other sites ({origin[:200]!r}).")
    opens_page = request.method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not opens_page:
        raise ApiError(403, "The emulator answers no pages of other sites.")


def _is_own(host: str, names: Collection[str]) -> bool:
    parts = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([^:@\[\]]*))(?::[0-9]*)?", host.lower())
    if parts is None:
        return False
    name = parts[1] or parts[2]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.removesuffix(".") in names
    return True


def bounded(scope: Scope, receive: Receive) -> Receive:
    """`receive` that raises `ApiError` for a body above the limit (413), or one that is sent too slowly (408).

    It may take `BODY_TIMEOUT_S` and a second more for each `SLOWEST_BYTES_PER_S`, without the time that the emulator
    takes for it.
    """
    is_upload = "/storage/" in scope["path"] or scope["method"] == "PUT"  # of the XML API
    limit = MAX_UPLOAD_BYTES if is_upload else MAX_REQUEST_BYTES
    announced = int(dict(scope["headers"]).get(b"content-length", 0))
    too_large = ApiError(413, f"Request payload size exceeds the limit: {limit} bytes.")
    taken, left_s, complete = 0, BODY_TIMEOUT_S, False

    async def bounded_receive() -> Message:
        nonlocal taken, left_s, complete
        if announced > limit:
            raise too_large
        begun = time.monotonic()
        try:
            async with asyncio.timeout(None if complete else max(left_s, 0)):
                message = await receive()
        except TimeoutError:
            raise ApiError(408, "The request's body was sent too slowly.") from None
        size = len(message.get("body", b""))
        taken += size
        left_s += size / SLOWEST_BYTES_PER_S - (time.monotonic() - begun)
        complete = complete or not message.get("more_body", False)
        if taken > limit:
            raise too_large
        return message

    return bounded_receive
