# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rules on rows: common passages, near conflicts, repeated passages, meaning, and the guard."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import templates
from gemtune.config import Preprocess, Task
from gemtune.data.cleaning import alphanumeric_key
from gemtune.data.compared_text import Remainders, compared_form, text_to_compare
from gemtune.data.duplicates import (
    borderline_duplicates,
    check_removal_limits,
    drop_near_duplicates,
    drop_semantic_duplicates,
    remove_repeated_passages,
    resolve_exact_duplicates,
)
from gemtune.data.example import Example, example_id
from gemtune.dedup import similarities
from gemtune.dedup.embedding import embed, leaders
from gemtune.dedup.passages import Remainder
from gemtune.errors import UserError

FRAME = "Read the ticket below and answer with exactly one of the known labels.\n\nTicket: "
END = "\n\nAnswer with the label only, and nothing else please."


def example(text: str, label: str = "a", line: int = 0) -> Example:
    return Example(id=example_id(text, label), text=text, target=label, line=line)


def sentences(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklmnop", k=6)) for _ in range(300)]
    return [" ".join(draw.choices(words, k=5)) for _ in range(count)]


def near(rows: list[Example], kind: str = "classification") -> list[int]:
    """Lines of the rows that are dropped as near-duplicates."""
    return sorted(row.line for row in drop_near_duplicates(rows, Task.of({"kind": kind}), Preprocess())[1])


def test_near_duplicates_ignore_a_shared_instruction() -> None:
    plain = sentences(40)
    framed = [FRAME + text + END for text in plain]
    assert [text.strip(": ") for text in Remainders().texts([example(t) for t in framed[:34] + plain[34:]])] == plain
    assert near([example(text, line=i) for i, text in enumerate(framed)]) == []
    copies = [example(text, line=i) for i, text in enumerate([*framed, plain[3] + "!", FRAME + plain[5] + " a"])]
    assert len(near(copies)) == 2


@pytest.mark.parametrize("language", ["en", "ja", "zh", "ko", "words"])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_near_duplicates_are_those_of_the_tickets_under_templates(language: str, share: float) -> None:
    result = templates.study(language, 300, 2, share, 1)
    assert (result.over_drops, result.missed) == ([], [])


@pytest.mark.parametrize(
    ("language", "number", "share", "seed"),
    [
        ("ja", 2, 1.0, 5),  # a phrase of a quarter of the tickets, half of which have the template
        ("ja", 2, 0.1, 4),  # the last words of many tickets, before a template
        ("ko", 5, 0.1, 7),
        ("zh", 5, 0.1, 5),
        ("zh", 2, 0.9, 5),  # a change beside what the template takes from the row
        ("de", 1, 0.9, 4),
    ],
)
def test_near_duplicates_where_template_and_ticket_meet(language: str, number: int, share: float, seed: int) -> None:
    result = templates.study(language, 1000, number, share, seed)
    assert (result.over_drops, result.missed) == ([], [])


FORM = (
    "Dear team, the customer wrote to us this morning and would like an answer today. City of the customer: {}. What "
    "follows is what the customer wrote in the form on our web site, rated {}: {}. Kind regards from the front desk."
)
WISHES = [
    f"{thing} {fault}"
    for thing in ("my lamp", "the sofa", "our fridge", "a blanket", "that chair", "the mirror")
    for fault in ("never arrived", "was delivered broken", "has the wrong colour", "makes a loud noise")
]


@pytest.mark.parametrize(
    "words",
    [("Rome", "Oslo"), ("Paris", "Tokyo"), ("Dresden", "Leipzig"), ("Frankfurt", "Nuremberg"), ("agreed", "denied"),
     ("yes", "no"), ("★★★★★", "★☆☆☆☆"), ("⑩⑪⑫", "⑬⑭⑮"), ("東京都", "大阪府"), ("A-17", "A-18")],
)  # fmt: skip
def test_near_duplicates_have_the_same_words_in_the_same_places(words: tuple[str, str]) -> None:
    same = [FORM.format(word, "4 of 5", wish) for wish in WISHES for word in words]
    assert near([example(text, line=i) for i, text in enumerate(same)]) == []
    swapped = [FORM.format(*pair, wish) for wish in WISHES for pair in (words, words[::-1])]
    assert near([example(text, line=i) for i, text in enumerate(swapped)]) == []


@pytest.mark.parametrize(
    "signature",
    [
        "Sent from my iPhone",
        "SENT FROM MY SAMSUNG GALAXY SMARTPHONE.",
        "Sent from Mail for Windows 10",
        "Get Outlook for iOS",
        "Von meinem iPhone gesendet",
        "Gesendet mit der GMX Mail App",
        "Envoyé de mon iPhone",
        "Enviado desde mi iPhone",
        "Inviato da iPhone",
        "iPhoneから送信",
        "发自我的iPhone",
        "나의 iPhone에서 보냄",
    ],
)
def test_near_duplicates_ignore_what_a_mail_program_adds(signature: str) -> None:
    rows = [example("lost parcel"), example(f"Lost parcel! {signature}", line=1), example(f"wet parcel\n\n{signature}")]
    assert near([replace(row, line=n) for n, row in enumerate(rows)]) in ([0], [1])
    assert near([example(signature), example(f"wet {signature}", line=1)]) == []


@pytest.mark.parametrize(
    "part", ["_", "-.", "_.", "a.", "a", "/", "é_", "例.", "例え", "-", "sent ", "iphone ", "1-", "a1 "]
)
def test_compared_text_takes_no_longer_for_odd_urls_and_endings(part: str) -> None:
    for text in (f"see https://{part * 20_000}", f"see https://{part * 20_000}!", f"sent from {part * 60}?!x"):
        row = example(text)
        compared = Remainders().compared([row, example(f"{text} or not", line=1)])  # a timeout where it backtracks
        assert all(compared)


def test_compared_text_keeps_what_only_begins_like_a_signature() -> None:
    for text in ("the parcel was sent from my office", "my mail was sent with the wrong address", "Sent from my iPad"):
        assert text_to_compare(example(text)) == text


PIECES = [FRAME.strip(), END.strip(), "届かない荷物について", "Sent from my iPhone", "https://a.example/x?q=1",
          "https://例え.jp/", "E-12", "12", "2026-11-27", "½", "✅", "\x00", "\u202e", "\n"]  # fmt: skip


@given(st.lists(st.lists(st.sampled_from(PIECES) | st.text(max_size=9), min_size=1, max_size=6).map(" ".join),
                unique=True, max_size=30), st.randoms())  # fmt: skip
def test_near_duplicates_are_the_same_in_any_order_of_rows(texts: list[str], draw: random.Random) -> None:
    rows = [example(text, line=i) for i, text in enumerate(texts)]
    kept, dropped = drop_near_duplicates(rows, Task(), Preprocess())
    ids = {row.id for row in kept}
    assert {row.kept_id for row in dropped} <= ids
    assert all((row.similarity or 0) >= Preprocess().jaccard_threshold for row in dropped)
    again, _ = drop_near_duplicates(draw.sample(rows, len(rows)), Task(), Preprocess())
    assert {row.id for row in again} == ids


@given(*[st.text("abc é日本語?", max_size=20).filter(lambda text: len(alphanumeric_key(text)) >= 5)] * 2,
       st.lists(st.text("ab1日 ", min_size=1, max_size=9), min_size=1, max_size=4))  # fmt: skip
def test_compared_texts_are_no_less_similar_beside_equal_pieces(one: str, other: str, pieces: list[str]) -> None:
    def both(*before: str, after: tuple[str, ...] = ()) -> list[str]:
        return [compared_form(Remainder((*before, text, *after), ())) for text in (one, other)]

    texts = [*both(), *both(*pieces), *both(after=tuple(pieces)), *both(*pieces[:1], after=tuple(pieces[1:]))]
    alone, *beside = similarities(texts, np.arange(8).reshape(-1, 2)).tolist()
    assert min(beside) >= alone


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "Two of three lamps are late, see http://shop.example/a",
            "TWO OF THREE LAMPS ARE LATE, SEE HTTP://SHOP.EXAMPLE/A.",
        ),
        (
            "I read about the lamp on https://shop.example/wiki/Möller/a",
            "I read about the lamp on https://shop.example/wiki/Möller/a!!",
        ),
        ("I read about the lamp on https://例え.jp/a", "i read about the LAMP on https://例え.jp/a"),
        (
            "詳細はhttps://shop.example/aをご覧ください。返金してください",
            "詳細はhttps://shop.example/aをご覧ください。返金してくださいね",
        ),
    ],
)
def test_near_duplicates_have_the_same_url_however_it_is_written(one: str, other: str) -> None:
    assert near([example(one), example(other, line=1)]) == [1]
    assert near([example(one), example(other.replace("/a", "/b").replace("/A", "/B"), line=1)]) == []


def test_near_duplicates_of_the_template_alone_are_its_copies() -> None:
    texts = [FRAME + text + END for text in sentences(30)]
    rows = [example(text, line=i) for i, text in enumerate([*texts, FRAME + END, FRAME.upper() + END])]
    assert len(near(rows)) == 1
    assert near(rows)[0] in (30, 31)


def test_near_duplicates_with_short_remainders_are_equal_ones() -> None:
    names = ["late", "lost", "loud", "open", "torn", "cold", "wet", "new", "lost!"]
    assert len(near([example(FRAME + name + END, line=i) for i, name in enumerate(names)])) == 1


@pytest.mark.parametrize(
    "texts",
    [
        ["12 + 3 = 4", "12 - 3 = 4", "12 * 3 = 4"],
        ["-5", "5", "+5", "5%"],
        ["?!", "!?", "...", ":-)"],
        ["1000 2000 3000 4000 5000", "1000 2000 3000 4000 5001"],
        ["https://shop.example/products/listing/10001", "https://shop.example/products/listing/10002"],
        ["error code 0x80070057 in the installer", "error code 0x80070058 in the installer"],
        ["Where is my parcel 48213, I have waited long", "Where is my parcel 48217, I have waited long"],
        ["GET /api/v1/customers/1234/orders 200", "GET /api/v1/customers/1235/orders 200"],
        ["订单12345什么时候到？", "订单12346什么时候到？"],
        ["Error code E-292 appears when I start the machine", "Error code E-293 appears when I start the machine"],
        [
            "エラー E-12 が出て洗濯機が動きません。助けてください",
            "エラー E-13 が出て洗濯機が動きません。助けてください",
        ],
    ],
    ids=lambda texts: texts[0],
)
def test_near_duplicates_count_signs_without_letters_and_whole_codes(texts: list[str]) -> None:
    assert near([example(text, line=i) for i, text in enumerate(texts)]) == []
    again = [example(text, line=i) for i, text in enumerate([*texts, *(f" {text} " for text in texts)])]
    assert len(near(again)) == len(texts)


ORDER = "Thank you for the order {} of last week, which our driver will bring to your address in the next two days"


@pytest.mark.parametrize(
    ("kind", "targets", "dropped"),
    [
        ("extraction", ('{"order": "12345"}', '{"order": "12346"}'), 0),
        ("extraction", ('{"order": "12345"}', '{"order": "12345"}'), 1),
        ("generation", ("Order 12345 is on its way.", "Order 12346 is on its way."), 0),
        ("generation", ("It is on its way.", "It will come soon."), 1),
        ("classification", ("12345", "12345"), 1),
    ],
)
def test_near_duplicates_have_the_same_values_from_the_text(kind: str, targets: tuple[str, str], dropped: int) -> None:
    rows = [example(ORDER.format(12345 + i), target, i) for i, target in enumerate(targets)]
    assert len(near(rows, kind)) == dropped


def test_borderline_duplicates_are_the_least_similar() -> None:
    plain = sentences(20, 1)
    rows = [example(FRAME + text, line=i) for i, text in enumerate(plain)]
    rows += [example(FRAME + text + " and"[: 1 + i % 4], line=20 + i) for i, text in enumerate(plain)]
    dropped = drop_near_duplicates(rows, Task(), Preprocess())[1]
    borderline = borderline_duplicates(dropped)
    assert len(borderline) == 10 < len(dropped)
    assert [row.similarity for row in borderline] == sorted(row.similarity or 0 for row in dropped)[:10]
    assert 0.8 <= borderline[0].similarity < 1
    assert FRAME[:50] not in borderline[0].text + borderline[0].detail


def test_near_duplicates_with_other_labels_are_kept() -> None:
    rows = [
        example("please cancel the order I made on monday", "cancel", 1),
        example("please cancel the order I made on Monday.", "keep", 2),
    ]
    kept, dropped = drop_near_duplicates(rows, Task(), Preprocess())
    assert (len(kept), dropped) == (2, [])


PASSAGE = "This message is confidential and meant for the person it is addressed to; delete it if that is not you."


@pytest.mark.parametrize(("action", "kept", "dropped"), [("report", 3, 0), ("trim", 3, 0), ("drop", 2, 1)])
def test_repeated_passages_are_reported_cut_or_dropped(action: str, kept: int, dropped: int) -> None:
    rows = [example(f"first words here {PASSAGE}"), example(f"{PASSAGE} other words"), example("nothing in common")]
    stay, leave, found = remove_repeated_passages(rows, Preprocess.of({"repeated": action, "repeated_chars": 50}))
    assert (len(stay), len(leave)) == (kept, dropped)
    assert found.rows == 1
    assert found.commonest == PASSAGE[:50]
    assert sum(PASSAGE in row.text for row in stay) == (2 if action == "report" else 1)
    if action == "trim":
        assert {"first words here", "other words"} & {row.text for row in stay}


@given(st.integers(0, 1000), st.sampled_from([0.5, 0.9]))
@settings(max_examples=25)
def test_semantic_leaders_agree_with_a_slow_version(seed: int, threshold: float) -> None:
    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(700, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    classes = draw.integers(0, 2, 700).tolist()
    kept: list[int] = []
    for i in range(700):
        if not any(classes[j] == classes[i] and vectors[i] @ vectors[j] >= threshold - 1e-6 for j in kept):
            kept.append(i)
    assert np.flatnonzero(leaders(vectors, threshold, classes) == np.arange(700)).tolist() == kept


def test_semantic_duplicates_match_reordered_words_only() -> None:
    texts = sentences(30)
    shuffled = " ".join(reversed(texts[0].split(" ")))
    rows = [example(text, line=i) for i, text in enumerate([*texts, shuffled])]
    kept, dropped = drop_semantic_duplicates(rows, Task(), Preprocess(semantic_threshold=0.9))
    assert len(kept) == 30
    assert {dropped[0].line, next(row.line for row in rows if row.id == dropped[0].kept_id)} == {0, 30}
    assert np.allclose(np.linalg.norm(embed(texts), axis=1), 1, atol=1e-5)


def test_removal_limits_stop_on_a_large_cluster() -> None:
    rows = [example("the same text" + " " * i, line=i) for i in range(30)]
    kept, dropped = resolve_exact_duplicates(rows, Task(), Preprocess())
    config = Preprocess(max_removed_share=1, max_cluster=20)
    with pytest.raises(UserError, match=r"cluster of 30 rows.*the same text as line"):
        check_removal_limits(30, len(kept), "exact deduplication", config, dropped)
    check_removal_limits(30, len(kept), "exact deduplication", Preprocess(max_removed_share=1), dropped)
