"""The words of docs/reference/glossary.md are used everywhere, and none that tests/vocabulary.yaml bans."""

import fnmatch
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import click
import pytest
import typer.main
import yaml
from pydantic import BaseModel

from gemtune.cli.main import app
from gemtune.config import Config

ROOT = Path(__file__).parents[1]
TABLES = yaml.safe_load((ROOT / "tests" / "vocabulary.yaml").read_text(encoding="utf-8"))
UNCHECKED = ("tests/test_vocabulary.py", "tests/vocabulary.yaml", "tools/rename_vocabulary.py", "tools/vocabulary/*")
# text between white space, comment signs and seams of string literals
PIECE = re.compile(r"""(?:\\(?!n)|[^\s"'#*\\])+""")
README_WORDS = 600


class Use(NamedTuple):
    """A banned word in use: where, which, and what replaces it."""

    path: str
    line: int
    word: str
    replacement: str


def test_vocabulary_has_no_banned_words():
    uses = sorted(set(chain(
        identifier_uses(), module_uses(), setting_uses(), setting_value_uses(), key_uses(), step_uses(), command_uses(),
        heading_uses(), phrase_uses(),
    )))  # fmt: skip
    exceptions = TABLES["exceptions"]
    left = [use for use in uses if not any(is_excepted(use, exception) for exception in exceptions)]
    unneeded = [e for e in exceptions if not any(is_excepted(use, e) for use in uses)]
    lines = [f"{use.path}:{use.line}: {use.word} -> {use.replacement}" for use in left]
    lines += [f"tests/vocabulary.yaml: exception for {e['word']!r} in {e['where']} is not needed" for e in unneeded]
    if lines:
        pytest.fail(f"{len(lines)} banned words\n" + "\n".join(lines), pytrace=False)


def test_vocabulary_exceptions_have_reasons():
    assert all(set(exception) == {"word", "where", "reason"} for exception in TABLES["exceptions"])
    assert all(exception["reason"].strip() for exception in TABLES["exceptions"])


def test_vocabulary_replacements_are_not_banned():
    for table in TABLES["identifiers"]:
        assert not set(table["words"]) & set(table["words"].values())
    assert not set(TABLES["settings"]["words"]) & set(TABLES["settings"]["words"].values())


def test_banned_parts_include_plurals_and_compounds():
    words = {"race": "", "like_hard": "", "duel": ""}
    assert banned_parts("_out_of_races", words) == ["race"]
    assert banned_parts("DuelSummary", words) == ["duel"]
    assert banned_parts("rows_like_hard_ones", words) == ["like_hard"]
    assert banned_parts("trace_like_a_hard_dueling", words) == []


def test_flat_text_joins_seams_and_keeps_lines():
    text, lines = flat_text('# So the\n# best\nlog("prompt "\n    f"STAYS {here}")')
    assert text.startswith("so the best log( prompt stays {here}")
    assert (lines[0], lines[text.index("best")], lines[text.index("stays")]) == (1, 2, 4)


def test_documents_name_existing_settings():
    settings = {name for name, _ in fields_of(Config)}
    unknown = []
    for path in within(["docs/**", "README.md"], ".md"):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            for section, rest in re.findall(r"`(?:--set '?)?([a-z_]+)\.([a-z_]+(?:\.[a-z_]+)*)", line):
                is_file = rest.endswith(("py", "md", "json", "jsonl", "yaml"))
                if section in Config.model_fields and not is_file and f"{section}.{rest}" not in settings:
                    unknown.append(f"{path}:{number}: {section}.{rest}")
    assert not unknown, "\n".join(unknown)


def test_readme_has_at_most_600_words():
    prose = re.sub(r"(?ms)^```.*?^```$", "", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(prose.split()) <= README_WORDS  # code blocks do not count, table signs and links do


def is_excepted(use: Use, exception: dict[str, str]) -> bool:
    """Whether the exception covers this use."""
    return use.word == exception["word"] and fnmatch.fnmatch(use.path, exception["where"])


@cache
def tracked() -> tuple[str, ...]:
    """Paths of all files of the tree, tracked or new, from the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return tuple(
        path for path in sorted(listed)
        if (ROOT / path).is_file() and not any(fnmatch.fnmatch(path, glob) for glob in UNCHECKED)
    )  # fmt: skip


def within(globs: list[str], *suffixes: str) -> list[str]:
    """The tracked paths that match any of the globs and end in any of the suffixes; a single star crosses no folder."""
    patterns = [re.compile(re.escape(g).replace(r"\*\*", ".*").replace(r"\*", "[^/]*") + r"\Z") for g in globs]
    return [path for path in tracked() if path.endswith(suffixes) and any(p.match(path) for p in patterns)]


@cache
def text_of(path: str) -> str:
    """The content of a file; empty where it is not text."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def line_of(path: str, place: int) -> int:
    return text_of(path).count("\n", 0, place) + 1


def found_in(text: str, patterns: dict[str, str], no_start: str = "") -> Iterator[tuple[int, str]]:
    """(place, word) of each match of a word's pattern that begins behind no character of the pattern `no_start`.

    A pattern that begins with letters is searched several times as fast as one that first looks behind.
    """
    for word, pattern in patterns.items():
        for match in re.finditer(pattern, text):
            if not no_start or not match.start() or not re.match(no_start, text[match.start() - 1]):
                yield match.start(), word


@cache
def tokens_of(path: str) -> tuple[tuple[int, str, int], ...]:
    """(type, text, line) of the names and strings of a Python file; f-strings give the names within."""
    tokens = tokenize.generate_tokens(io.StringIO(text_of(path)).readline)
    return tuple(chain.from_iterable(
        [(token.type, token.string, token.start[0]), *names_in_f_string(token)]
        for token in tokens if token.type in (tokenize.NAME, tokenize.STRING)
    ))  # fmt: skip


def names_in_f_string(token: tokenize.TokenInfo) -> Iterator[tuple[int, str, int]]:
    """The names in the expressions of an f-string, which Python 3.11 reads as one string token."""
    if token.type == tokenize.STRING and "f" in re.match(r"\w*", token.string)[0].lower():
        for expression in re.finditer(r"(?<!{){([^{}]+)}", token.string):
            line = token.start[0] + token.string[: expression.start()].count("\n")
            for name in re.findall(r"(?<![\w'\"])[A-Za-z_]\w*(?!['\"\w])", expression[1].split(":")[0]):
                yield tokenize.NAME, name, line


def parts_of(name: str) -> list[str]:
    """The lower-case words of a snake_case or CamelCase name."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def banned_parts(name: str, words: dict[str, str]) -> list[str]:
    """The banned words that are a part of `name`, perhaps in plural; a word of several parts must be contiguous."""
    parts = parts_of(name)
    spans = {"_".join(parts[i:j]) for i in range(len(parts)) for j in range(i + 1, min(i + 4, len(parts)) + 1)}
    return [word for word in words if word in spans or f"{word}s" in spans]


def identifier_uses() -> Iterator[Use]:
    for table in TABLES["identifiers"]:
        words, banned = table["words"], {}
        for path in within(table["where"], ".py"):
            for kind, name, line in tokens_of(path):
                if kind != tokenize.NAME:
                    continue
                if name not in banned:
                    whole = [name] if name in words else []
                    banned[name] = banned_parts(name, words) if table.get("part") else whole
                for word in banned[name]:
                    yield Use(path, line, word, words[word])


def module_uses() -> Iterator[Use]:
    for table in TABLES["modules"]:
        for path in within(table["where"], ".py"):
            for part in Path(path).with_suffix("").parts[1:]:
                if part in table["words"]:
                    yield Use(path, 1, part, table["words"][part])


def fields_of(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and annotation of each setting, those of nested sections and lists of sections included."""
    for name, field in section.model_fields.items():
        yield f"{prefix}{name}", field.annotation
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and get_origin(inner) is None and issubclass(inner, BaseModel):
                yield from fields_of(inner, f"{prefix}{name}.")


def place_of(setting: str) -> tuple[str, int]:
    """File and line that declare a setting; of settings with the same last name, the first."""
    for path in within(["gemtune/config/*"], ".py"):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if line.startswith(f"    {setting.rpartition('.')[2]}: "):
                return path, number
    return "gemtune/config/", 0


def setting_uses() -> Iterator[Use]:
    words = TABLES["settings"]["words"]
    for name, _ in fields_of(Config):
        for word, replacement in words.items():
            if name == word or name.endswith(f".{word}"):
                yield Use(*place_of(name), word, f"{replacement} (setting {name})")
    patterns = {word: rf"{re.escape(word)}(?!\w)" for word in words if "." in word or "_" in word}
    for path in within(TABLES["settings"]["where"], ".md", ".yaml"):
        for place, word in found_in(text_of(path), patterns, no_start=r"[\w.]"):
            yield Use(path, line_of(path, place), word, words[word])


def setting_value_uses() -> Iterator[Use]:
    for name, annotation in fields_of(Config):
        banned = TABLES["setting_values"].get(name, {})
        for value in get_args(annotation) if get_origin(annotation) is Literal else ():
            if value in banned:
                yield Use(*place_of(name), str(value), f"{banned[value]} (value of {name})")


def key_uses() -> Iterator[Use]:
    table = TABLES["keys"]
    words = table["words"]
    for path in within(table["where"], ".py"):
        for kind, text, line in tokens_of(path):
            if kind == tokenize.STRING and (word := text.strip("\"'")) in words:
                yield Use(path, line, word, words[word])
    for path in within(table["fields"], ".py"):
        for kind, text, line in tokens_of(path):
            if kind == tokenize.NAME and text in words:
                yield Use(path, line, text, words[text])
    for path in within(table["where"], ".j2"):
        for expression in re.finditer(r"{[{%].*?[}%]}", text_of(path), re.S):
            line = text_of(path).count("\n", 0, expression.start()) + 1
            literals = r"'[^']*'|\"[^\"]*\""
            names = re.sub(literals, lambda m: "" if " " in m[0] else m[0], expression[0])  # without sentences
            for name in re.findall(r"[A-Za-z_]\w*", names):
                if name in words:
                    yield Use(path, line, name, words[name])
    for path in within(table["where"], ".json", ".yaml"):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            key = re.match(r"\s*(?:- )?[\"']?([\w-]+)[\"']?\s*:", line)
            if key and key[1] in words:
                yield Use(path, number, key[1], words[key[1]])


def task_names(node: Any) -> Iterator[str]:
    """Names of the tasks and conditions of a compiled or normalised pipeline."""
    if isinstance(node, dict):
        tasks = node.get("tasks")
        yield from tasks if isinstance(tasks, dict) else ()
        if isinstance(node.get("taskInfo"), dict):
            yield node["taskInfo"]["name"]
        for value in node.values():
            yield from task_names(value)
    elif isinstance(node, list):
        for value in node:
            yield from task_names(value)


def step_uses() -> Iterator[Use]:
    for path in within(["tests/golden/*"], ".yaml", ".json"):
        for document in yaml.safe_load_all(text_of(path)):
            for name in task_names(document):
                if name in TABLES["steps"]:
                    yield Use(path, 1, name, f"{TABLES['steps'][name]} (step)")


def command_uses() -> Iterator[Use]:
    def walk(command: click.Command, name: str) -> Iterator[str]:
        yield name
        yield from (option for parameter in command.params for option in parameter.opts)
        for child, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, f"{name} {child}".strip())

    for name in walk(typer.main.get_command(app), ""):
        if name in TABLES["commands"]:
            yield Use("gemtune/cli/", 0, name, f"{TABLES['commands'][name]} (command)")
    patterns = {
        word: rf"gemtune {re.escape(word)}\b" if word[0] != "-" else rf"{word}\b" for word in TABLES["commands"]
    }
    for path in within(["**/*.md", "*.md", "Makefile", "gemtune/**"], ""):
        for place, word in found_in(text_of(path), patterns):
            yield Use(path, line_of(path, place), word, f"{TABLES['commands'][word]} (command)")


def heading_uses() -> Iterator[Use]:
    for path in within(TABLES["headings"]["where"], ".md"):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            for word, replacement in TABLES["headings"]["words"].items():
                if re.match(r"#+ ", line) and re.search(rf"\b{word}s?\b", line, re.I):
                    yield Use(path, number, word, f"{replacement} (heading)")


def flat_text(text: str) -> tuple[str, list[int]]:
    """The text in lower case with one space for each gap or seam, and the line of each of its characters."""
    flat, lines, line, last = [], [], 1, 0
    for piece in PIECE.finditer(text):
        line += text.count("\n", last, piece.start())
        last = piece.start()
        if piece[0] not in ("f", "r"):  # the prefix of a string that goes on
            flat.append(f"{piece[0].lower()} ")
            lines += [line] * len(flat[-1])
    return "".join(flat), lines


def phrase_uses() -> Iterator[Use]:
    table = TABLES["phrases"]
    patterns = {phrase: rf"(?:{phrase})(?!\w)" for phrase in table["words"]}
    for path in within(table["where"], ".md", ".py", ".j2", ".yaml", ".toml", "Makefile"):
        text, lines = flat_text(text_of(path))
        for place, phrase in found_in(text, patterns, no_start=r"\w"):
            yield Use(path, lines[place], phrase, table["words"][phrase])
