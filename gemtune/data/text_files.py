# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Text files as lines, whatever program saved them: encoding, line ends and delimiter.

Guarantees: nothing is replaced or left out: a byte that the encoding does not have is a `UserError` that names its
line. What was inferred about a file is passed to `SourceFile.note` with the setting that overrides it.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, cast

import yaml

from gemtune.config import JsonObject, Preprocess
from gemtune.errors import UserError

MAX_LINE_CHARS = 64 * 2**20
_CHUNK_BYTES, _MAX_CHUNKS = 2**20, 64  # read ahead to recognize an encoding
_SAMPLE_BYTES = 2**16
_BOMS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# what programs of these languages save: Japanese, Korean, Chinese (each 2)
_EAST_ASIAN = ["cp932", "euc-jp", "cp949", "johab", "gb18030", "big5"]
_ONE_BYTE = [
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874"),
    *("iso8859-2", "iso8859-5", "iso8859-6", "koi8-r", "koi8-u", "mac-roman", "mac-latin2", "mac-cyrillic"),
    *("cp850", "cp852", "cp866"),
]
_LEGACY = [*_EAST_ASIAN, *_ONE_BYTE]
_NO_WESTERN_LETTERS = {*range(0x81, 0x85), *range(0x86, 0x91), *range(0x98, 0xA0)}  # rare in cp1252
_ONE_BYTE_NAMES, _SPARSE, _NEARLY = {codecs.lookup(name).name for name in _ONE_BYTE}, 2, 0.95
_PLAUSIBLE_BYTES = 2**13
_OLD = dict.fromkeys(["mac-roman", "mac-latin2", "cp850", "cp852"], 0.75)  # few programs still write them
_SIGNS = "’‘‚“”„«»‹›…–—•·€£¥§°ºª©®™¿¡²³½¼¾±×µ\xa0؟،؛׳״฿№"
_ONE_LETTER_WORDS = "àáâèéêìíóòôõöøúùåæãäüñ"
_ESCAPE = re.compile(rb"\x1b\$(?:[@B]|\)C)")  # of ISO 2022, Japanese or Korean mail: ASCII bytes otherwise
_MIN_NUL_SHARE = 0.005  # of UTF-16 without a mark: delimiters and line ends alone are more
DELIMITERS = ",;\t|^~\x01\x1f"
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_QUOTED_HEADER = re.compile(r'\ufeff?"[^"\t\n]*"(?:\t"[^"\t\n]*")*\s*$')
_QUOTED_LINES = 0.3
_STYLES: tuple[tuple[str, JsonObject], ...] = (  # of quoting, by what notes call them: double quotes are the first
    ("", {}),
    ("quoted, with a backslash before quotes within", {"escapechar": "\\"}),
    ("not quoted, and quotes are plain characters", {"quoting": csv.QUOTE_NONE}),
    ("quoted in apostrophes", {"quotechar": "'"}),
    ("quoted in apostrophes", {"quotechar": "'", "escapechar": "\\"}),
)
_SEPARATOR_LINE = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE | re.DOTALL)
Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file with its name in messages, the settings it is read by, and what receives notes about it."""

    path: Path
    name: str
    config: Preprocess
    note: Note

    def assume(self, what: str, setting: str) -> None:
        """Note an assumption and the setting that overrides it."""
        self.note(f"{self.name}: {what}; if that is wrong, set {setting}")

    def existing(self) -> Path:
        """The path; raises `UserError` if it is not a file."""
        if self.path.is_file():
            return self.path
        what = "is a directory, not a file" if self.path.is_dir() else "no such file"
        raise UserError(what, file=self.name, remedy="check the path: of the command, or of the setting")

    def open(self) -> BinaryIO:
        """The unpacked content; raises `UserError` if it cannot be opened."""
        try:
            content = self.existing().open("rb")
        except OSError as error:
            raise UserError(f"cannot be opened: {error.strerror}", file=self.name) from None
        return cast(BinaryIO, gzip.GzipFile(fileobj=content)) if self.path.suffix.lower() == ".gz" else content


def read_lines(file: SourceFile) -> Iterator[tuple[int, str | None]]:
    """(number, line) of a text file; None for a line of more than MAX_LINE_CHARS. Lines end in LF, CR LF or CR."""
    require_rows(file)
    encoding = file.config.encoding or _recognize_encoding(file)
    encoding = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    number = 0
    # surrogateescape, because a strict decoder fails before the lines that it read ahead
    with file.open() as content, io.TextIOWrapper(content, encoding, "surrogateescape", newline="") as text:
        try:
            while line := text.readline(MAX_LINE_CHARS + 1):
                number += 1
                if len(line) > MAX_LINE_CHARS:
                    while line and line[-1] not in "\r\n":
                        line = text.readline(MAX_LINE_CHARS)
                    yield number, None
                else:
                    yield number, line if line.isascii() else _without_escapes(file, number, line, encoding)
        except UnicodeError as error:
            raise _not_encoded(file, number + 1, encoding, f"not {_shown(encoding)}: {error}") from None
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            remedy = "the archive is truncated or damaged: compress the file again"
            raise UserError(
                f"cannot unpack after line {number}: {error}", file=file.name, line=number + 1, remedy=remedy
            ) from None
    if number == 0:
        raise UserError("the file is empty", file=file.name, remedy="provide labelled rows, one per line")


def require_rows(file: SourceFile, expected: str = "a file of rows") -> None:
    """Raise `UserError` that says what the file is, if it begins like something that has no rows."""
    start = next(_chunks(file), b"")[:_SAMPLE_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n")
    for other in _signatures():
        begins = other["begins"].encode("latin-1")
        is_like = start[: len(begins)].lower() == begins.lower() if begins[:1] == b"<" else start.startswith(begins)
        if is_like and any(name.startswith(other.get("member", "")) for name in _members(file) or [""]):
            raise UserError(f"not {expected}: it is {other['what']}", file=file.name, remedy=other["remedy"])


@cache
def _signatures() -> list[dict[str, str]]:
    signatures: list[dict[str, str]] = yaml.safe_load(
        Path(__file__).with_name("file_signatures.yaml").read_text(encoding="utf-8")
    )
    return signatures


def _members(file: SourceFile) -> list[str]:
    try:
        with file.open() as content, zipfile.ZipFile(content) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return []


def _without_escapes(file: SourceFile, number: int, line: str, encoding: str) -> str:
    """The line; raises `UserError` for a byte that could not be decoded."""
    try:
        line.encode()
    except UnicodeEncodeError as error:
        byte = len(line[: error.start].encode("utf-8" if encoding == "utf-8-sig" else encoding)) + 1
        value = ord(line[error.start]) - 0xDC00
        raise _not_encoded(file, number, encoding, f"byte {byte} (0x{value:02x}) is not {_shown(encoding)}") from None
    return line


def _not_encoded(file: SourceFile, line: int, encoding: str, message: str) -> UserError:
    remedy = "save the file as UTF-8, or set preprocess.encoding to the one it was saved in: " + ", ".join(_LEGACY)
    if not file.config.encoding and encoding == "utf-8-sig":
        remedy = "most of the file is UTF-8: files were joined here or bytes are damaged, save the rest as UTF-8 too"
    return UserError(message, file=file.name, line=line, remedy=remedy)


def _shown(encoding: str) -> str:
    return encoding.upper().removesuffix("-SIG")


def _recognize_encoding(file: SourceFile) -> str:
    """UTF-8 if the bytes are that; otherwise by byte order mark, NUL bytes, or chardet's estimate."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    has_utf8 = False
    for k, chunk in enumerate(_chunks(file)):
        if k == 0 and (encoding := _wide_encoding(chunk)):
            if encoding not in dict(_BOMS).values():
                signs = "NUL bytes" if encoding.startswith("utf") else "escape sequences"
                file.assume(f"read as {encoding.upper()}, by its {signs}", "preprocess.encoding")
            return encoding
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError:
            encoding, *others = ([] if has_utf8 else _legacy_encodings(chunk)) or ["utf-8-sig"]
            if encoding != "utf-8-sig":
                nearly = f" ({' or '.join(others)} is nearly as likely)" if others else ""
                file.assume(f"not UTF-8, read as {encoding}{nearly}", "preprocess.encoding")
            return encoding
        has_utf8 = has_utf8 or not chunk.isascii()
    return "utf-8-sig"


def _chunks(file: SourceFile) -> Iterator[bytes]:
    """The beginning of the file. A damaged archive just ends: reading its lines will name the place."""
    with file.open() as content:
        for _ in range(_MAX_CHUNKS):
            try:
                chunk = content.read(_CHUNK_BYTES)
            except (EOFError, zlib.error, gzip.BadGzipFile):
                return
            if not chunk:
                return
            yield chunk


def _wide_encoding(start: bytes) -> str | None:
    """UTF-16 or UTF-32, by byte order mark, or by NUL bytes in every other place; ISO 2022 by escape sequences."""
    for mark, encoding in _BOMS:
        if start.startswith(mark):
            return encoding
    if escape := _ESCAPE.search(start):
        return "iso2022_kr" if escape[0].endswith(b"C") else "iso2022_jp"
    sample = start[: _SAMPLE_BYTES - _SAMPLE_BYTES % 2]
    high, low = sample[::2].count(0), sample[1::2].count(0)
    # some Chinese characters have a NUL byte in the other place
    if 3 * min(high, low) > max(high, low) or high + low < max(2, _MIN_NUL_SHARE * len(sample)):
        return None
    encoding = "utf-16-le" if low > high else "utf-16-be"
    text = sample[: len(sample) - len(sample) % 2].decode(encoding, "replace")
    return encoding if text[:2].isascii() or "\n" in text or "\r" in text else None


def _legacy_encodings(chunk: bytes) -> list[str]:
    """The likely encoding of text that is not UTF-8, then others nearly as likely that give another text; empty when
    most of it is UTF-8, so that some bytes are damaged.
    """
    import chardet

    characters = [c for c in chunk.decode(errors="surrogateescape") if not c.isascii()]
    if 2 * sum("\udc80" <= c <= "\udcff" for c in characters) <= len(characters):
        return []
    sample = b"\n".join(line for line in chunk.split(b"\n") if not line.isascii())
    results = chardet.detect_all(sample, include_encodings=_LEGACY, ignore_threshold=True)
    likely = {codecs.lookup(r["encoding"]).name: r["confidence"] for r in results if r["encoding"]}
    if not likely:
        return []
    start = sample[:_SAMPLE_BYTES]
    for name in likely.keys() & _ONE_BYTE_NAMES:
        likely[name] *= _plausible(start[:_PLAUSIBLE_BYTES].decode(name, "replace")) ** 4
        likely[name] *= _OLD.get(name, 1.0)
    best = max(likely, key=lambda encoding: likely[encoding])
    # one or two accented letters occur in several languages: the Western ones are the most common
    accents = {byte for byte in sample if byte > 127}
    is_sparse = len(accents) <= _SPARSE and best in _ONE_BYTE_NAMES and not accents & _NO_WESTERN_LETTERS
    best = "cp1252" if is_sparse and 2 * likely.get("cp1252", -1) >= likely[best] else best
    text = start.decode(best, "replace")
    near = [name for name in likely if name != best and likely[name] >= _NEARLY * likely[best]]
    return [best, *(name for name in near if start.decode(name, "replace") != text)]


def _plausible(text: str) -> float:
    """The share of the characters beyond ASCII that stand where such characters do.

    A letter stands in a word of its own script and case, or is a word of one letter; a sign does not stand between two
    letters, an apostrophe aside.
    """
    places = [match.start() for match in re.finditer(r"[^\x00-\x7f]", text)]
    padded = f" {text} "
    return sum(_is_in_place(*padded[i : i + 3]) for i in places) / max(1, len(places))


def _is_in_place(before: str, character: str, after: str) -> bool:
    if unicodedata.category(character)[0] not in "LM":
        is_in_word = before.isalpha() and after.isalpha()
        return character in ("’‘" if is_in_word else _SIGNS) or (character in "–—·" and is_in_word)
    near = [own for own in (before, after) if own.isalpha()]
    if any((own < "\u0250") != (character < "\u0250") for own in near):
        return False
    if character < "\u0250" and not near:
        return character.casefold() in _ONE_LETTER_WORDS
    case_changes = character.isupper() and before.islower()
    return not case_changes and not (character.islower() and before.isupper() and after.isupper())


# -- delimiters ------------------------------------------------------------------------------------------------------


def separator_line(line: str) -> str:
    """The delimiter that a first line `sep=;` names, as spreadsheet programs write it; "" for other lines."""
    match = _SEPARATOR_LINE.fullmatch(line.rstrip("\r\n"))
    return match[1] if match else ""


def recognize_dialect(
    file: SourceFile, head: Sequence[str], marks: str, columns: Sequence[str]
) -> tuple[str, JsonObject]:
    """The delimiter of a table, the first of `marks` unless another fits better, and how its cells are quoted, as
    arguments of `csv.reader`: those by which its first lines look most like a table with these columns.
    """
    dialects = [(mark, what, style) for mark in marks for what, style in _STYLES if _may_be(head, mark, style)]
    mark, what, style = max(dialects, key=lambda dialect: _fit(head, dialect[0], dialect[2], columns, marks[0]))
    if mark != marks[0]:
        file.assume(f"the cells are separated by {_NAMES.get(mark, repr(mark))}", "preprocess.delimiter")
    if what:
        file.note(f"{file.name}: the cells are {what}")
    return mark, style


def _fit(head: Sequence[str], mark: str, style: JsonObject, columns: Sequence[str], default: str) -> tuple[int, ...]:
    """How well the first lines are read so, the last of which may be cut within a cell: how many columns a row names
    at most (the header, below titles perhaps); whether every row has several cells; all of such rows is read; no
    quotes are left around rows, or behind backslashes; quotes do not join lines with their tabs; all rows of the table
    are of one width.
    """
    text, rows, is_read = "".join(head), list[list[str]](), True
    try:
        for cells in csv.reader(head, delimiter=mark, strict=True, **style):
            rows += [cells] if cells else []
    except csv.Error as error:
        is_read = "end of data" in str(error)
    named = max((len({cell.strip(" \t\ufeff'\"") for cell in cells} & {*columns}) for cells in rows), default=0)
    rows = rows[:-1] if len(rows) > 1 else rows
    widths = {len(cells) for cells in rows}
    is_table = min(widths, default=0) > 1 and (mark == default or len(widths) == 1)
    joins = any("\t" in cell and "\n" in cell for cells in rows for cell in cells) and mark == "\t"
    quote = style.get("quotechar", '"')
    is_escaped = "escapechar" not in style and f"\\{quote}" in text and 2 * quote not in text
    is_quoted = _is_quoted(rows, "'") or _is_quoted(rows, '"')
    return (
        named,
        is_table,
        is_read or not is_table,
        not is_quoted,
        not is_escaped,
        not joins,
        is_table and len(widths) == 1,
    )


def _may_be(head: Sequence[str], mark: str, style: JsonObject) -> bool:
    """Whether lines have a sign of a style of quoting."""
    if "quoting" in style:
        return mark == "\t" and not _QUOTED_HEADER.match("".join(head[:1]))
    quote = style.get("quotechar", '"')
    if "escapechar" in style and not any(f"\\{quote}" in line for line in head):
        return False
    return quote == '"' or _is_quoted([[line.strip()] for line in head[1:] if line.strip()], quote)


def _is_quoted(rows: Sequence[Sequence[str]], quote: str) -> bool:
    """Whether rows begin and end with quotes; a cell may have several lines."""
    edges = [sum(cells[0].startswith(quote) for cells in rows), sum(cells[-1].endswith(quote) for cells in rows)]
    return bool(rows) and sum(edges) >= len(rows) and min(edges) >= _QUOTED_LINES * len(rows)
