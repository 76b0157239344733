# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Base of all artifacts, with the only writer and the only reader of such documents.

Guarantees: what `write` stored, `read` returns as an equal model, whatever characters its texts have (keys of a
dictionary: valid Unicode); a file appears under its name only when complete.
"""

import gzip
import io
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import ClassVar, Self, TextIO

from pydantic import BaseModel, ConfigDict, ValidationError

from gemtune.errors import UserError, actionable


class Part(BaseModel):
    """Base of the records inside an artifact: frozen, no unknown keys, no NaN or infinity."""

    # validators are built when they are first used: a step uses few of the artifacts that it imports
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class Artifact(Part):
    """A document that a step writes and later steps read.

    A subclass names the step that writes it in `STEP`, and raises `VERSION` when the meaning of its fields changes.
    """

    STEP: ClassVar[str]
    VERSION: ClassVar[int] = 1

    schema_version: int = 1

    def write(self, path: str | Path) -> None:
        """Write the document as indented JSON."""
        with open_atomic(path) as file:
            file.write(self.document())

    def document(self) -> str:
        """The text of the document."""
        document = {**self.model_dump(mode="json", by_alias=True), "schema_version": self.VERSION}
        return f"{json.dumps(document, ensure_ascii=False, indent=1)}\n"

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The document in a file.

        Raises `UserError` for a file that is missing, is no JSON object, has another schema version, or does not fit.
        """
        remedy = f"rerun {cls.STEP}"
        try:
            document = json.loads(Path(path).read_text("utf-8"))
        except OSError as error:
            raise UserError(f"cannot read the {cls.__name__}: {error.strerror}", file=path, remedy=remedy) from None
        except ValueError as error:  # also UnicodeDecodeError
            raise UserError(f"not a {cls.__name__}: {error}", file=path, remedy=remedy) from None
        if not isinstance(document, dict):
            problem = f"not a {cls.__name__}: {type(document).__name__} instead of an object"
            raise UserError(problem, file=path, remedy=remedy)
        if (version := document.get("schema_version")) != cls.VERSION:
            problem = f"schema_version {version!r} of {cls.__name__}, expected {cls.VERSION}"
            raise UserError(problem, file=path, remedy=f"{remedy} with this version of gemtune")
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise UserError(f"not a {cls.__name__}: {_problems(error)}", file=path, remedy=remedy) from None


def _problems(error: ValidationError) -> str:
    """One clause per wrong field: its dotted name, the problem and the value."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'document'}: {item['msg']}, got {item['input']!r:.80}"
        for item in error.errors()
    )


@contextmanager
def open_atomic(path: str | Path, *, compress: bool = False) -> Iterator[TextIO]:
    """A text file for writing, gzipped with `compress`, that appears under its name only when complete.

    A lone surrogate, which UTF-8 cannot hold, is written as its escape: in JSON it is the same text again. Raises
    `UserError` when the disk is full or the folder cannot be written to.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # what the umask leaves of it
    except OSError as error:
        raise actionable(error) from None
    try:
        with (
            open(handle, "wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if compress else nullcontext(raw) as binary,
            io.TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", newline="\n") as file,
        ):
            yield file
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError) and error.errno:
            raise actionable(error, path) from None
        raise
