# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Calls to Google's services: what their failures mean, and which of them are sent again.

Every failure is raised as one of three: `UserError` (settings, credentials), `TransientError` (the same request may
succeed later) or `PermanentError` (the service refused the request and would refuse it again). Idempotent functions of
`gemtune.vertex` are `retried`, so that no caller has to think of it; what is not idempotent says so in its docstring.
"""

import functools
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import ParamSpec, TypeVar

from gemtune.errors import ServiceError, UserError

ATTEMPTS, LONGEST_PAUSE_S = 10, 30.0
RETRIED_CODES = frozenset({408, 429, 500, 502, 503, 504})
TRANSPORT_ERRORS = frozenset(
    {"ClientError", "HTTPError", "HTTPException", "ProtocolError", "RequestException", "gaierror"}
)
"""Base classes of errors of a connection, in whichever library an SDK uses today."""
REQUEST_ERRORS = frozenset({"InvalidURL", "InvalidSchema", "MissingSchema", "InvalidHeader", "UnsupportedProtocol"})
"""Errors of the same libraries about a request that cannot be sent at all."""
UNREADABLE = frozenset({"JSONDecodeError", "UnknownApiResponseError", "DataCorruption", "InvalidResponse"})
"""Errors of SDKs about a response that was cut off."""

T = TypeVar("T")
P = ParamSpec("P")
_retrying: ContextVar[bool] = ContextVar("_retrying", default=False)


class TransientError(ServiceError):
    """The service is busy or unreachable (408, 429, 5xx, connection); the same request may succeed later."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class PermanentError(ServiceError):
    """The service refused the request (other 4xx); a retry cannot succeed. `code` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def retried(function: Callable[P, T]) -> Callable[P, T]:
    """An idempotent function that is called again on `TransientError`.

    Up to ten attempts with exponential backoff (at most 30 s); inside another retried function only that one retries.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if _retrying.get():
            return function(*args, **kwargs)
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

        attempts = Retrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential_jitter(initial=0.2, max=LONGEST_PAUSE_S, jitter=0.2),
            reraise=True,
        )
        token = _retrying.set(True)
        try:
            return attempts(function, *args, **kwargs)
        finally:
            _retrying.reset(token)

    return call


def translate_errors(call: Callable[[], T], expected: Mapping[int, T] = MappingProxyType({})) -> T:
    """Run an SDK call; failures of any SDK are raised as `TransientError`, `PermanentError` or `UserError`.

    `expected` are the results for HTTP statuses that are no failure of this call.
    """
    try:
        return call()
    except Exception as error:
        failure = translated(error)
        if isinstance(failure, PermanentError) and failure.code in expected:
            return expected[failure.code]
        raise failure from error


def translated(error: Exception) -> Exception:
    """The exception for an error of any of Google's SDKs or of the transports below them; others are unchanged."""
    if isinstance(error, UserError | TransientError | PermanentError):
        return error
    kinds = {kind.__name__ for kind in type(error).__mro__}
    packages = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    if kinds & {"DefaultCredentialsError", "RefreshError"} and not getattr(error, "retryable", False):
        return UserError(f"no usable Google credentials: {error}", remedy="run: gcloud auth application-default login")
    code = getattr(error, "code", None)
    if "google" in packages and isinstance(code, int) and kinds & {"GoogleAPICallError", "APIError"}:
        message = str(getattr(error, "message", None) or error)
        return TransientError(f"{code}: {message}", code) if code in RETRIED_CODES else PermanentError(code, message)
    connection = isinstance(error, ConnectionError | TimeoutError | ssl.SSLError) or bool(kinds & TRANSPORT_ERRORS)
    sdk = "google" in packages and bool(kinds & {"RetryError", "TransportError", "RefreshError"})
    if (connection and not kinds & REQUEST_ERRORS) or sdk or kinds & UNREADABLE:
        return TransientError(f"{type(error).__name__}: {error}")
    return error


def require_credentials(call: Callable[[], T]) -> T:
    """Run a call; credentials that are missing or expired raise a `UserError` that explains how to sign in."""
    try:
        return call()
    except Exception as error:
        if isinstance(failure := translated(error), UserError):
            raise failure from None
        raise


def batched(items: Iterable[T], size: Callable[[T], int], max_size: int, max_items: int) -> Iterator[list[T]]:
    """Items in order, in batches for a request: at most `max_items`, together of `max_size` (or one that is larger)."""
    batch: list[T] = []
    total = 0
    for item in items:
        if batch and (len(batch) == max_items or total + size(item) > max_size):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += size(item)
    if batch:
        yield batch
