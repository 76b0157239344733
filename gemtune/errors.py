# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The one exception for what a user can put right."""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """Something the user can put right: says where (file, line), what (value) and how to mend it (remedy)."""

    def __init__(
        self, message: str, *, file: str | Path | None = None, line: int | None = None, remedy: str = ""
    ) -> None:
        where = f"{file}:{line}: " if file is not None and line is not None else f"{file}: " if file is not None else ""
        super().__init__(f"{where}{message}" + (f" ({remedy})" if remedy else ""))
