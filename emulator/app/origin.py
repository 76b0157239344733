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

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.core.google_rest import ApiError

MAX_REQUEST_BYTES, MAX_UPLOAD_BYTES = 32 << 20, 2 << 30
BODY_TIMEOUT_S, SLOWEST_BYTES_PER_S = 20.0, 10_000.0


class OriginCheck:
    """Middleware: 403 for requests of other sites' pages, 413 for a body above the limit, 408 for a slow one."""

    def __init__(self, app: ASGIApp, allowed_hosts: Collection[str] = ()) -> None:
        self._app = app
        self._allowed = {"localhost", *(name.lower() for name in allowed_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        uploads = "/storage/" in scope["path"] or scope["method"] == "PUT"  # of the XML API
        limit = MAX_UPLOAD_BYTES if uploads else MAX_REQUEST_BYTES
        error = self._foreign(scope, headers) or _too_large(headers, limit)
        try:
            if error is not None:
                raise error
            await self._app(scope, _bounded(receive, limit), send)
        except ApiError as refusal:  # also of a body, which is read before the response begins
            answer = JSONResponse(refusal.body(), refusal.code, headers={"Connection": "close"})
            await answer(scope, receive, send)

    def _foreign(self, scope: Scope, headers: dict[str, str]) -> ApiError | None:
        host, origin = headers.get("host", "localhost"), headers.get("origin")
        if not self._is_allowed(host):
            name = host[:200]
            return ApiError(403, f"The emulator does not answer as {name!r}; start it with --allow-host {name}.")
        if origin is not None and origin.lower() != f"{scope['scheme']}://{host}".lower():
            return ApiError(403, f"The emulator answers no pages of other sites ({origin[:200]!r}).")
        opens_page = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not opens_page:
            return ApiError(403, "The emulator answers no pages of other sites.")
        return None

    def _is_allowed(self, host: str) -> bool:
        parts = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([^:@\[\]]*))(?::[0-9]*)?", host.lower())
        if parts is None:
            return False
        name = parts[1] or parts[2]
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.removesuffix(".") in self._allowed
        return True


def _too_large(headers: dict[str, str], limit: int) -> ApiError | None:
    length = headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length) > limit:
        return _above(limit)
    return None


def _above(limit: int) -> ApiError:
    return ApiError(413, f"Request payload size exceeds the limit: {limit} bytes.")


def _bounded(receive: Receive, limit: int) -> Receive:
    """`receive` that raises `ApiError` for a body above the limit, or one that is sent too slowly.

    It may take `BODY_TIMEOUT_S` and a second more for each `SLOWEST_BYTES_PER_S`, without the time that the emulator
    takes for it.
    """
    taken, left_s, complete = 0, BODY_TIMEOUT_S, False

    async def bounded() -> Message:
        nonlocal taken, left_s, complete
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
            raise _above(limit)
        return message

    return bounded
