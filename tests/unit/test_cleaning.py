# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Cleaning is idempotent, can be told apart rule by rule, and serving can repeat it; personal data is found and
masked.
"""

import codecs
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemtune import pii
from gemtune.config import Preprocess, Task
from gemtune.data.cleaning import (
    _CONTROL,
    _INVISIBLE,
    alphanumeric_key,
    clean,
    export_rules,
    is_mojibake,
    load_cleaner,
    rule_changes,
    rules,
    text_key,
)

CONFIGS = st.builds(
    Preprocess,
    normalize_unicode=st.sampled_from(["NFC", "NFKC", "none"]),
    collapse_whitespace=st.none() | st.booleans(),
    remove_control=st.booleans(),
    remove_invisible=st.booleans(),
    strip_html=st.booleans(),
)
KINDS = ("classification", "sentiment", "extraction", "summarization", "generation")
TEXTS = st.text() | st.text(alphabet="<b>/&lt;amp;\x00\u200b\ufeff e\u0301ﬁ　👨\u200d👧 \t\n")


@given(TEXTS, CONFIGS)
def test_clean_is_idempotent(text: str, config: Preprocess) -> None:
    once = clean(text, config, Task())
    assert clean(once, config, Task()) == once


@given(TEXTS, CONFIGS)
def test_cleaner_repeats_the_exported_rules(text: str, config: Preprocess) -> None:
    for task in (Task(), Task(kind="generation")):
        exported = export_rules(config, task)
        assert None not in exported.values()  # no pipeline parameter may be null
        assert load_cleaner(exported)(text) == clean(text, config, task)


@pytest.mark.parametrize(
    ("text", "setting", "expected"),
    [
        ("a\u200bb\ufeffc\u00ad", {}, "abc"),
        ("a\x00b\x07c", {}, "abc"),
        ("👨\u200d👩\u200d👧 と 届かない", {}, "👨\u200d👩\u200d👧 と 届かない"),
        ("<p>Hi &amp; bye</p>", {"strip_html": True}, "Hi & bye"),
        ("2 < 3 and 5 > 4", {"strip_html": True}, "2 < 3 and 5 > 4"),
        ("ﬁne　ＡＢＣ", {"normalize_unicode": "NFKC"}, "fine ABC"),
        ("STRASSE", {"lowercase": True}, "strasse"),
    ],
)
def test_clean_applies_each_rule(text: str, setting: dict[str, object], expected: str) -> None:
    assert clean(text, Preprocess.of(setting), Task()) == expected


@given(TEXTS | st.text(st.characters(max_codepoint=127)))
def test_keys_are_those_of_their_patterns(text: str) -> None:
    normal = unicodedata.normalize("NFKC", text)
    assert text_key(text) == re.sub(r"\s+", " ", normal.casefold()).strip()
    assert alphanumeric_key(text) == (re.sub(r"[\W_]+", "", normal.lower()) or text_key(text))


def test_printable_characters_are_neither_control_nor_invisible() -> None:
    printable = "".join(filter(str.isprintable, map(chr, range(0x110000))))
    assert not _CONTROL.search(printable)
    assert not _INVISIBLE.search(printable)


def test_changes_names_rule_before_and_after() -> None:
    assert list(rule_changes("a\x00  b", rules(Preprocess(), Task()))) == [
        ("remove_control", "a\x00  b", "a  b"),
        ("collapse_whitespace", "a  b", "a b"),
    ]


@pytest.mark.parametrize(
    "text",
    ["a\n\n```csv\nx,y\n1,2\n```", "def f(x):\n    if x:\n        return 1", "    x = 1\n    y = 2", "a\tb\r\nc"],
)
def test_clean_keeps_line_breaks_and_indentation_unless_texts_are_labelled(text: str) -> None:
    kept = {kind: clean(text, Preprocess(), Task(kind=kind)) == text for kind in KINDS}
    assert kept == {kind: kind not in ("classification", "sentiment") for kind in KINDS}
    assert clean(text, Preprocess(collapse_whitespace=True), Task(kind="extraction")) == " ".join(text.split())
    assert clean(text, Preprocess(collapse_whitespace=False), Task()) == text
    spaced = {clean(f" \n{text} \n", Preprocess(), Task(kind=kind)) for kind in KINDS[2:]}
    assert spaced == {text}


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("mail ana.b+x@post.example.org today", ["email"]),
        ("card 4111 1111 1111 1111 please", ["card"]),
        ("card 4111 1111 1111 1112 please", []),
        ("IBAN DE89 3704 0044 0532 0130 00 ok", ["iban"]),
        ("IBAN GB82 WEST AAAA BBBB CCCC DDDD ok", []),
        ("call +49 30 1234 5678 or 030 1234567", ["phone", "phone"]),
        ("call (555) 123-4567", ["phone"]),
        ("password: hunter2x!", ["secret"]),
        ("the reset token: please send it", []),
        ("order 12345 of 2026-11-20, 24.90 euros, version 10.2.3", []),
    ],
)
def test_pii_findings_check_form_and_check_digit(text: str, kinds: list[str]) -> None:
    assert [finding.kind for finding in pii.findings(text)] == kinds


@settings(max_examples=10)
@pytest.mark.parametrize(
    ("kind", "pattern"), [(kind, pattern) for kind, patterns in pii._PATTERNS.items() for pattern in patterns]
)
@given(data=st.data())
def test_pii_findings_passes_over_no_text_that_a_pattern_matches(kind: str, pattern: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(re.compile(pattern, pii._KINDS[kind].flags)))
    matches = [match[0] for match in pii._KINDS[kind].finditer(text)]
    assert kind in pii._possible_kinds(text) or not any(map(pii._CHECKS.get(kind, bool), matches))


@given(st.text(alphabet="0123456789 +-.()@ab:=\n") | st.from_regex(r"(a@b\.c|\+1 555 123 4567|4111111111111111){0,4}"))
def test_pii_masked_text_has_no_findings(text: str) -> None:
    assert pii.findings(pii.mask(text)) == []


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
@pytest.mark.parametrize("text", ["Où est ma commande réglée ?", "Müller hat’s bestellt", "Größe: 5 €"])
def test_is_mojibake_finds_utf8_read_as_western(text: str, encoding: str) -> None:
    assert is_mojibake(text.encode().decode(encoding, "replace"))
    assert not is_mojibake(text)


@pytest.mark.parametrize(
    "text", ["где мой заказ? жду уже две недели", "πού είναι η παραγγελία μου; περιμένω", "къде е"]
)
def test_is_mojibake_leaves_small_letters_of_two_bytes_alone(text: str) -> None:
    assert not any(map(is_mojibake, (text, text.upper(), text.title())))


def test_is_mojibake_finds_koi8_read_as_another_cyrillic_encoding() -> None:
    text = "Где мой заказ? Жду уже две недели."
    assert is_mojibake(text.encode("koi8-r").decode("cp1251"))
    for real in (text, text.upper(), text.lower(), "iPhone и еБэй", "США, ООН"):
        assert not is_mojibake(real)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ja", "お届け先の住所を変更したいのですが"), ("ja", "どうすればよいでしょうか。"),
        ("ko", "주문한 상품이 아직 도착하지 않았습니다."), ("zh", "我的订单还没有收到，请问什么时候可以送到？"),
        ("ru", "Где мой заказ, скажите пожалуйста?"),
    ],
)  # fmt: skip
def test_is_mojibake_finds_one_encoding_read_as_another(language: str, text: str) -> None:
    codecs.register_error("middle_dot", lambda error: ("・", error.end))  # as programs on Windows write lost bytes
    pairs = {
        "ja": [("utf-8", "cp932"), ("utf-8", "gb18030"), ("cp932", "latin-1"), ("euc_jp", "latin-1")],
        "ko": [("utf-8", "gb18030"), ("cp949", "latin-1")],
        "zh": [("utf-8", "gb18030"), ("gb18030", "latin-1")],
        "ru": [("utf-8", "gb18030"), ("utf-8", "latin-1"), ("cp1251", "latin-1"), ("utf-8", "mac_roman")],
    }[language]
    for real, read in pairs:
        for errors in ("replace", "middle_dot"):
            assert is_mojibake(text.encode(real).decode(read, errors)), (real, read, errors)
    assert not is_mojibake(text)


@pytest.mark.parametrize(
    "text",
    [
        "NÃO", "CAFÉ»", "„MENÜ“", "It’s “fine” – ok", "°C ±5", "ÖVPÄ", "ГДЕ МОЯ посылка", "Πού είναι",
        "我要退款", "性价比很高", "ノート・パソコン", "①ﾃｽﾄ", "1£ ½",
        "荷物がまだ届きません", "배송이 아직", "हिन्दी", "ไทย", "ｶﾞｽ", "👍🏽 ok", "żółć", "TÜRKÇE İÇİN", "",
    ],
)  # fmt: skip
def test_is_mojibake_leaves_real_text_alone(text: str) -> None:
    assert not is_mojibake(text)


def test_load_cleaner_masks_personal_data_as_training_did():
    masked = load_cleaner(export_rules(Preprocess(pii="mask", lowercase=True), Task()))
    assert masked("Mail  Ann@example.com or ann@EXAMPLE.com") == "mail [EMAIL] or [EMAIL]"
    assert load_cleaner(export_rules(Preprocess(pii="report"), Task()))("ann@example.com") == "ann@example.com"
