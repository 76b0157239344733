# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The exception for errors that the user can fix, and what to do about those of the system and of services."""

import difflib
import errno
import re
from functools import lru_cache
from pathlib import Path

_NO_ACCESS, _NO_SPACE = "choose a folder that you may write to, or change its permissions", "free disk space, or quota"
SYSTEM_REMEDIES = {
    errno.EACCES: _NO_ACCESS,
    errno.EPERM: _NO_ACCESS,
    errno.EROFS: _NO_ACCESS,
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: "raise the limit of a file's size (ulimit -f)",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENOENT: "check the path",
    errno.EISDIR: "give a file, not a folder",
    errno.ENOTDIR: "check the path: a part of it is a file",
    errno.EEXIST: "choose another name: a file has this one",
}
SERVICE_REMEDIES = {
    0: "check network, proxy and region, then run again",
    400: "correct what the message names",
    401: "sign in again: gcloud auth application-default login",
    403: "have the missing role granted, or the API enabled, in this project",
    404: "check project, region and name",
    429: "wait, raise the quota, or lower evaluate.concurrency",
}


class UserError(Exception):
    """An error that the user can fix; the message names file, line, problem with its value, and remedy."""

    exit_code = 1

    def __init__(
        self, message: str, *, file: str | Path | None = None, line: int | None = None, remedy: str = ""
    ) -> None:
        where = f"{file}:{line}: " if file is not None and line is not None else f"{file}: " if file is not None else ""
        super().__init__(f"{where}{message}" + (f" ({remedy})" if remedy else ""))


class OverBudgetError(UserError):
    """Every path of a run may cost more than `plan.max_cost`."""

    exit_code = 5


class TooFewRowsError(UserError):
    """The rows can be used, but a run needs more of them."""

    exit_code = 4


class ServiceError(Exception):
    """A failure of Google's services; `code` is the HTTP status, 0 without one."""

    code: int


# a value in quotes; one that was cut has no closing quote, so that all after it may be of the value
_QUOTED = re.compile(r"""(?<!\w)(['"])(?:(?:\\.|(?!\1).)*\1(?!\w)|.*)""", re.DOTALL)


def without_values(message: str) -> str:
    """The message with what it quotes left out, for logs: texts, answers and labels of rows are in documents only."""
    return _QUOTED.sub("'…'", message)


@lru_cache(1000)
def similar(name: str, names: tuple[str, ...]) -> str:
    """The most similar of the known names, in any case of letters; "" if none is similar."""
    by_key = {item.casefold(): item for item in reversed(names)}
    return next((by_key[key] for key in difflib.get_close_matches(name.casefold(), by_key, 1)), "")


def did_you_mean(name: str, names: tuple[str, ...]) -> str:
    """The end of a message about an unknown name: `; did you mean 'x'?`, or "" if no known name is similar."""
    return f"; did you mean {near!r}?" if (near := similar(name, names)) else ""


def actionable(error: OSError | ServiceError, file: str | Path | None = None) -> UserError:
    """The error with its place (`file`, where the system names none) and what to do about it."""
    if isinstance(error, ServiceError):
        return UserError(str(error), remedy=SERVICE_REMEDIES.get(error.code, "wait, and run again"))
    remedy = SYSTEM_REMEDIES.get(error.errno or 0, "")
    return UserError(error.strerror or str(error), file=error.filename or file, remedy=remedy)
