# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The exception for errors that the user can fix."""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """An error that the user can fix; the message names file, line, problem with its value, and remedy."""

    def __init__(
        self, message: str, *, file: str | Path | None = None, line: int | None = None, remedy: str = ""
    ) -> None:
        where = f"{file}:{line}: " if file is not None and line is not None else f"{file}: " if file is not None else ""
        super().__init__(f"{where}{message}" + (f" ({remedy})" if remedy else ""))
