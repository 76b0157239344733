# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Signs that rows belong together (several of one customer or one thread) although no group column is set.

Such rows are not independent: in different splits they leak, and in one split they make intervals too narrow. Looked
for are columns of repeated identifiers, identifiers that begin alike, and texts that begin alike, in the first
`MAX_ROWS` rows. What is found is a note, never an assumption: whether rows with an equal value belong together, only
the owner of the data knows.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from gemtune.config import JsonObject

MAX_ROWS = 20_000
MIN_GROUPS, MAX_ROWS_PER_GROUP = 10, 100  # fewer or larger: a category, whose rows are not one customer's
MIN_SHARE = 0.1  # of the rows that are in a group with another
_MAX_CHARS, _PREFIX_CHARS, _MAX_COLUMNS = 64, 40, 3

_KINDS = (f"{_PREFIX_CHARS} characters", "line", "identifier")  # of beginnings
_MAX_LINE_CHARS, _MIN_DIGITS = 200, 4  # digits of an identifier without brackets, # or colon

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")
_GROUP_WORD = re.compile(
    r"(uu?|gu)?ids?|thread|conv(ersation|ersacion|ersa|ersazione)?|dialog(ue)?|chat|session|customer|client|consumer|"
    r"user|account|member|author|sender|caller|patient|person|e?mail|phone|case|ticket|order|parent|group|"
    r"kunden?|nutzer|sitzung|cliente|usuario|utilisateur|compte|utente"
)
_GROUP_PART = re.compile("顧客|会話|会[员員]|スレッド|ユーザー|客[户戶]|用[户戶]|会话|對話|고객|대화|사용자")
_TIME = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}:\d{2}|(19|20)\d{6}(\d{6})?$|\D{0,2}\d{1,4}\s?[年년]")
_IDENTIFIER = re.compile(r"(?=\S*\d)(?=\S*[^\W\d]|\d{5,}$)\S+|\S+@\S+")
_DECIMAL = re.compile(r"[-+]?\d+[.,]\d+")
_LAST_PART = re.compile(r"[-_/.:#|]\d+$")


@dataclass
class GroupColumns:
    """Values of the columns, and beginnings of the texts, of the rows read so far."""

    rows: int = 0
    values: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    beginnings: dict[tuple[str, str], set[int]] = field(default_factory=lambda: defaultdict(set))

    def add(self, row: JsonObject, text: str, others: Collection[str]) -> None:
        """Count a row; `others` are columns with another meaning."""
        if self.rows >= MAX_ROWS:
            return
        self.rows += 1
        for kind, beginning in _beginnings(text):
            self.beginnings[kind, beginning.casefold()].add(hash(text))
        for name, value in row.items():
            is_scalar = isinstance(value, str | int) and not isinstance(value, bool)
            if is_scalar and name not in others and 0 < len(key := str(value).strip()) <= _MAX_CHARS:
                self.values[name][key] += 1

    def offered(self) -> list[str]:
        """Columns whose values may be customers or threads, that with the fewest values first."""
        offered = [
            name
            for name, counts in self.values.items()
            if _is_repeated(counts, self.rows) and _names_groups(name, counts)
        ]
        return sorted(offered, key=lambda name: len(self.values[name]))  # of customers and their threads, customers

    def notes(self) -> list[str]:
        """A sentence for each sign, with the setting that it suggests."""
        offered = self.offered()
        notes = [
            f"{_repeated(self.values[name].values())} rows share their value of the column {name} with another row "
            f"({len(self.values[name])} values): if these are one customer or thread, set "
            f"preprocess.group_column: {name}"
            for name in offered[:_MAX_COLUMNS]
        ]
        remedy = "if these are one customer or thread, write its name into a column and set preprocess.group_column"
        for name, counts in self.values.items():
            sets = _sets(counts)
            if name not in offered and len(counts) > 0.95 * counts.total() and _is_repeated(sets, self.rows):
                example = next(value for value, rows in sets.items() if rows > 1)
                notes.append(
                    f"{_repeated(sets.values())} values of the column {name!r} differ from another in their last part "
                    f"only (such as {example!r} and a number): {remedy}"
                )
        for kind in _KINDS if not offered else ():
            texts = Counter({own: len(texts) for (of, own), texts in self.beginnings.items() if of == kind})
            if _is_repeated(texts, self.rows):
                count, several = _repeated(texts.values()), sum(size > 1 for size in texts.values())
                notes.append(f"{count} texts begin with the same {kind} as another text, in {several} sets: {remedy}")
                break
        return notes


def _beginnings(text: str) -> Iterator[tuple[str, str]]:
    """How a text begins: its first characters, a first line, a first word that is an identifier or an address."""
    if len(text) > _PREFIX_CHARS:
        yield _KINDS[0], text[:_PREFIX_CHARS]
    line, _, rest = text.strip()[:_MAX_LINE_CHARS].partition("\n")
    if rest and any(map(str.isdigit, line)):
        yield _KINDS[1], line.strip()
    for first in line.split(maxsplit=1)[:1]:
        word = first.strip("[](){}<>#:,;.|")
        is_marked = word != first or "@" in word or sum(map(str.isdigit, word)) >= _MIN_DIGITS
        if is_marked and _IDENTIFIER.fullmatch(word) and not _TIME.match(word):
            yield _KINDS[2], word


def _repeated(sizes: Iterable[int]) -> int:
    return sum(size for size in sizes if size > 1)


def _is_repeated(counts: Counter[str], rows: int) -> bool:
    """Whether many of so many rows are in groups, and the groups are many and small."""
    groups = [size for size in counts.values() if size > 1]
    is_many = len(groups) >= MIN_GROUPS and sum(groups) >= MIN_SHARE * rows
    return is_many and sum(groups) <= MAX_ROWS_PER_GROUP * len(groups) and max(groups) <= rows / 2


def words_of(name: str) -> list[str]:
    """The words and numbers of a name, in their order, without case and width."""
    return [word.casefold() for word in _WORDS.findall(unicodedata.normalize("NFKC", name))]


def _names_groups(name: str, counts: Counter[str]) -> bool:
    """Whether the column's name, or nearly all of its values, are those of identifiers."""
    if _GROUP_PART.search(name) or any(map(_GROUP_WORD.fullmatch, words_of(name))):
        return True
    identifiers = sum(bool(_IDENTIFIER.fullmatch(value)) and not _TIME.match(value) for value in counts)
    return identifiers >= 0.9 * len(counts)


def _sets(counts: Counter[str]) -> Counter[str]:
    """How many values, neither times nor decimal numbers, there are of each beginning, without a number at the end."""
    names = [value for value in counts if not _TIME.match(value) and not _DECIMAL.fullmatch(value)]
    return Counter(beginning for value in names if (beginning := _LAST_PART.sub("", value)) != value)
