# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""One answer reader for all languages: a table of forms, laws for any text, refusals by what is declined."""

from __future__ import annotations

import json
import re
import time
from itertools import groupby
from pathlib import Path

import answer_table
import pytest
from answer_table import LABELS
from hypothesis import given
from hypothesis import strategies as st

from gemtune.artifacts.base import open_atomic
from gemtune.config import Evaluate, Judge, ModelVariant, Prompt, Task, fingerprint
from gemtune.contents import ModelOutput
from gemtune.data.example import Example
from gemtune.evaluation.judge import parse_pairwise, parse_rating
from gemtune.evaluation.predictions import write_predictions
from gemtune.evaluation.scorers import prediction_row, score_sample
from gemtune.evaluation.verdicts import verdict_of
from gemtune.inference.answer_forms import LANGUAGES, any_of, is_refusal
from gemtune.inference.generate import GenerateRequest
from gemtune.inference.parsing import canonical, parse
from gemtune.inference.response_cache import SqliteResponseCache

ZERO, COT = Prompt(), Prompt(name="cot", chain_of_thought=True)
TABLE = answer_table.read()
INTENT = Task(labels=["refund", "cancel", "other"])
COLORS = Task(labels=["red", "blue", "green"], label_separator="; ")
NUMBERS = Task(labels=["-1", "1", "1.5", "15", "5"])
OBJECT, TEXT = Task(kind="extraction"), Task(kind="generation")
TASKS = [INTENT, COLORS, NUMBERS, OBJECT, TEXT, Task(kind="summarization"), *(Task(labels=LABELS[x]) for x in LABELS)]


def value(task, answer, prompt=ZERO):
    return parse(task, prompt, answer).value


# -- the table -------------------------------------------------------------------------------------------------------


def test_answer_table_is_built_from_forms():
    assert list(answer_table.build()) == TABLE
    assert len(TABLE) >= 600
    assert {pair.language for pair in TABLE} == {"en", "ja", "ko", "zh", "de", "fr", "es", "it", "pt", "ru"}


@pytest.mark.parametrize("language", LABELS)
def test_parse_reads_the_answer_table(language):
    task = Task(labels=LABELS[language])
    pairs = [pair for pair in TABLE if pair.language == language]
    assert [(p.answer, value(task, p.answer)) for p in pairs] == [(p.answer, p.value) for p in pairs]


def test_parse_reads_a_form_alike_in_each_language():
    """By the table's values, which the test above compares with those that are read."""
    by_form = sorted(TABLE, key=lambda pair: pair.form)
    for form, pairs in groupby(by_form, key=lambda pair: pair.form):
        results = {(pair.language, pair.value is not None) for pair in pairs}
        assert {language for language, _ in results} == set(LABELS), form
        assert len({is_read for _, is_read in results}) == 1, form


def test_answer_forms_have_the_same_words_in_each_language():
    kinds = {kind for language in LANGUAGES for kind in language} - {
        "articles",
        "months",
        "denials",
        "contrasts",
        "turns",
        "mentions",
        "than",
        "than_after",
        "particles",
        "assigns",
        "asks",
        "without",
        "prepositions",
        "concessives",
        "reasons",
        "retractions",
    }  # which some languages do not have
    assert len(LANGUAGES) == len(LABELS)
    assert all(kinds <= set(language) for language in LANGUAGES)
    assert all("" not in words.split(", ") for language in LANGUAGES for words in language.values())


def test_readers_read_the_samples_of_each_task_kind():
    """Answers as models write them: of labels, label sets, numbers, objects; of judges; refusals and apologies."""
    lines = Path(__file__).with_name("answer_samples.jsonl").read_text(encoding="utf-8").splitlines()
    judge = Judge(model="judge", rubric="Good?")
    readers = {
        "rating": lambda text: parse_rating(judge, [ModelOutput(text)]).score,
        "verdict": lambda text: parse_pairwise([ModelOutput(text)], "a", "b").choices[0].chosen,
        "text": lambda text: parse(TEXT, ZERO, text).problem,
    }
    samples = [json.loads(line) for line in lines]
    for settings, group in groupby(samples, key=lambda sample: sample.pop("task", None)):
        task = None if settings is None else Task.of(settings)
        for sample in group:
            wanted = sample.pop("value")
            ((kind, answer),) = sample.items()
            read = readers[kind](answer) if task is None else value(task, answer)
            assert (answer, read) == (answer, wanted)
            assert task is None or read is None or value(task, read) == read


@pytest.mark.parametrize(
    ("labels", "answer", "expected"),
    [
        (["spam", "not spam"], "This is spam, rather than not spam.", "spam"),
        (["合格", "不合格"], "合格ではありません。不合格です。", "不合格"),
        (["-1", "1"], "1, not -1", "1"), (["1", "4", "5"], "Not 4.5", None), (["1", "4", "5"], "not 4-5", None),
        (["A", "B", "C"], "Not A, but B.", "B"),
        (["yes", "no"], "No, not yes.", "no"), (["yes", "no"], "yes and no", None),
        (["fit", "unfit", "open"], "Not fit, unfit or open.", None),
        (["fit", "unfit", "open"], "Not yet fit. Open.", None),
        (["fit", "unfit", "open"], '{"label": "not fit or unfit: open"}', "open"),
        (["fit", "unfit", "open"], "I would not call it fit. It is open.", None),
        (["正面", "负面"], "不是正面吗？负面", None),
        (["A", "B", "C"], "A\nTherefore B", None), (["A", "B", "C"], "A\nTherefore A", "A"),
        (["A", "B", "C"], "A\nText: next\nLabel: B", "A"),
    ],
)  # fmt: skip
def test_parse_takes_back_only_what_a_clause_denies(labels, answer, expected):
    assert value(Task(labels=labels), answer) == expected


@pytest.mark.parametrize(
    "answer",
    ["[x] red\n[x] blue\n[ ] green", "✅ red\n✅ blue\n❌ green", "☑ red\n☑ blue", '{"red": 1, "blue": 1, "green": 0}'],
)
def test_parse_reads_a_checklist_as_a_set(answer):
    assert value(COLORS, answer) == "blue; red"


def test_words_of_a_pattern_share_the_tests_of_their_edges():
    """One test of the edges for each word took most of what each step and command needed to start."""
    pattern = any_of(["no", "my", "not a", "返金", "配送"])
    assert pattern.count("(?<!") == 2  # for each length
    found = re.compile(pattern)
    assert [found.search(text) is not None for text in ("no", "now", "a not  a", "nor a", "の返金を")] == [
        *(True, False, True, False, True)
    ]


# -- laws ------------------------------------------------------------------------------------------------------------

PIECES = [
    "{", "}", "[", "]", '"', "'", "\\", "```", "```json\n", "<think>", "</think>", "<label>", "</label>", "\\boxed{",
    "label", '"label": ', "The label is ", "分類は", "です。", "분류는 ", "입니다.", "标签：", "Thought: ", "not ",
    "1. ",
    "- ", "; ", "、", "：", "\n", "\n\n", " ", ".", "-", "1", "5", "refund", "cancel", "red", "blue", "返金", "긍정",
    "\ud800", "\udfff", "\u200b", "\u0301", "ﷺ", "👍🏽", "\x00", "１", "ｒｅｆｕｎｄ", "I can't help with that.",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=60)
any_text = st.lists(st.sampled_from(PIECES) | st.characters(categories=["Cs", "L", "M", "N", "P", "S", "Z"])).map(
    "".join
)


@given(st.sampled_from(TASKS), st.sampled_from([ZERO, COT]), texts | any_text)
def test_parse_never_raises_and_sets_value_or_problem(task, prompt, answer):
    parsed = parse(task, prompt, answer)
    assert (parsed.value is None) != (parsed.problem is None)
    if parsed.value is not None:
        parsed.value.encode()


@given(st.sampled_from(TASKS), st.sampled_from([ZERO, COT]), texts | any_text)
def test_parse_is_idempotent(task, prompt, answer):
    once = value(task, answer, prompt)
    assert once is None or value(task, once) == once


@given(st.sampled_from(TABLE), st.sampled_from(["{}", " {}\n", "**{}**", "<think>hm</think>{}"]))
def test_parse_reads_wrapped_forms_alike(pair, wrapper):
    task = Task(labels=LABELS[pair.language])
    is_thought = pair.form in ("think", "unclosed think") or pair.form.startswith("open thoughts")
    if not is_thought and pair.form != "two objects" and "*" not in pair.answer:
        assert value(task, wrapper.format(pair.answer)) in (pair.value, None)


@given(st.sampled_from(LABELS["en"]), texts)
def test_parse_does_not_read_a_cut_object(label, tail):
    whole = json.dumps({"label": label, "reason": tail, "items": [{"label": label}]})
    for end in range(1, len(whole)):
        assert value(Task(labels=LABELS["en"]), whole[:end]) is None
        assert value(OBJECT, whole[:end]) is None


LONG = [
    "[" * 1500, '{"a":' * 1500, "[" * 1500 + "]" * 1500, '{"a":' * 1500 + "1" + "}" * 1500, "{" * 50_000,
    '"' * 50_000, '\\"' * 25_000, "refund or " * 5_000, "\n" * 50_000 + "x", "```\n" * 2_500, "<a>" * 15_000,
    "-" * 50_000 + "x", "```" + " " * 50_000 + "x", "\\boxed{" + " " * 50_000, "is: " * 12_000, "category " * 5_500,
    "_" * 50_000 + "x", '{"label":"x"} ' * 1_000 + '{"', "[1," * 1500, "\ud800", 'refund\ud800', '{"a": "\\ud800"}',
    "9" * 5_000,
]  # fmt: skip


@pytest.mark.parametrize("answer", LONG, ids=lambda answer: ascii(answer[:8]))
@pytest.mark.parametrize("task", [INTENT, COLORS, OBJECT], ids=["label", "labels", "object"])
def test_parse_makes_one_invalid_row_of_a_huge_answer(task, answer):
    started = time.process_time()
    assert value(task, answer) is None
    assert value(task, answer, COT) is None
    assert time.process_time() - started < 0.4  # linear in its length: several times what it takes


def test_half_surrogate_pair_is_one_invalid_row_in_every_file(tmp_path):
    output = ModelOutput("refund\ud800")
    request = GenerateRequest("1", "m", None, [{"role": "user", "parts": [{"text": "refund\ud800"}]}])
    with SqliteResponseCache(tmp_path, {}) as cache:
        cache.put(request, output)
        assert cache.get(request).text == output.text
    variant = ModelVariant(name="m", model="m")
    score = score_sample(INTENT, variant, Example("1", "text", "refund"), output)
    assert (score.outcome, score.scores["accuracy"]) == ("invalid", 0.0)
    write_predictions(tmp_path / "predictions.jsonl", [prediction_row(variant, score)])
    assert json.loads((tmp_path / "predictions.jsonl").read_text(encoding="utf-8"))["answer"] == output.text
    with open_atomic(tmp_path / "report.html") as file:
        file.write(output.text)
    assert fingerprint(output.text) != fingerprint("refund")


# -- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("THOUGHT: asks for money\nrefund", "refund"), ("THOUGHT:\nasks for money\n\nrefund", "refund"),
        ("Let me see.\n<answer>\nrefund\n</answer>", "refund"), ("$\\boxed{\\text{refund}}$", "refund"),
        ('[{"label": "refund", "score": 0.99}]', "refund"), ('{"result": {"label": "refund", "score": 1}}', "refund"),
        ("{'label': 'refund', 'reason': 'cancel'}", "refund"), ("{label: \"refund\"}", "refund"),
        ("{“label”: “refund”}", "refund"), ('｛"label"："refund"｝', "refund"), ("### Answer\nrefund", "refund"),
        ('The label of "cancel my order" is refund', "refund"), ("① refund", "refund"), ("(1) refund", "refund"),
        ('{"label": "cancel"}\nNo wait, corrected: {"label": "refund"}', "refund"),
        ('Draft {"label": "cancel"}. Final answer: {"label": "refund"}', "refund"),
        ('{"reason": "the label is: refund", "label": "unknown"}', None), ('{"refund": 0.9, "cancel": 0.1}', None),
        ("refund, not cancel; the label is other", None), ("<think>refund", None), ("refund. Actually cancel.", None),
        ("refund\nTwice.\nTherefore the label is cancel.", None), ("refund\nSo the label is refund.", "refund"),
        ("The text mentions refund.\nHence: other\nBut maybe cancel", None), ("The text mentions refund.", None),
        ("refund\nTherefore other or cancel", None), ("refund\nIt is money, so it is not cancel.", "refund"),
        ("refund: yes\nrefund: no", None), ("refund ✅\nrefund ❌", None), ("refund ✅\nother ❌", "refund"),
        ("refund: yes\nother: no", "refund"), ("Category: refund / Subcategory: other", None),
        ("Category: refund\nSubcategory: other", None), ("Category: refund\nSubcategory: double charge", "refund"),
        ('{"label": "refund"} {"label": "cancel"}', None), ("\\boxed{refund} \\boxed{cancel}", None),
    ],
)  # fmt: skip
def test_parse_unwraps_labels(answer, label):
    assert value(INTENT, answer) == label


@pytest.mark.parametrize(
    "answer",
    ["Thoughts on it.\n```\nrefund\n```", "Thoughts on it.\nSo it is refund.\n\nLet me know if you need more!",
     "Thoughts on it.\nAnswer: refund\n\nFeel free to ask.", "Not cancel.\n\nThe category is refund."],
)  # fmt: skip
def test_parse_reads_the_last_line_of_thoughts(answer):
    assert value(INTENT, answer, COT) == "refund"


def test_parse_keeps_minus_and_point_of_numbers():
    answers = [
        "-1",
        "−1",
        "1.5",
        "15",
        "- 5",
        "5.",
        "-1です",
        '{"label": -1}',
        "Label: -1.",
        "1. 5",
        "-5",
        ".5",
        "4/5",
        "1 5",
    ]
    wanted = ["-1", "-1", "1.5", "15", "5", "5", "-1", "-1", "-1", None, None, None, None, None]
    assert [value(NUMBERS, answer) for answer in answers] == wanted


@pytest.mark.parametrize(
    "answer",
    [
        "red\nblue", "- red\n- blue", "1. red\n2. blue", "red；blue", "red、blue", "red, blue", "Labels: red, blue",
        "ラベル：red、blue", "Labels:\n- red\n- blue", '["blue", "red"]',
        '{"labels": ["red", "blue"], "reason": "green"}',
        '[{"label": "red"}, {"label": "blue"}]', "<think>green</think>\nred; blue", "标签：red；blue", "red and blue",
        "The labels are red and blue.", "redとblue", "red과 blue", "red和blue", "red und blue", "red et blue",
        "red y blue", "red e blue", "red / blue",
        "red・blue", "red\tblue", "red\nand blue", "「red」「blue」", "(1) red (2) blue",
        "①red ②blue", "<label>red</label>\n<label>blue</label>", '{"red": true, "blue": true, "green": false}',
    ],
)  # fmt: skip
def test_parse_reads_lists_as_sets(answer):
    assert value(COLORS, answer) == "blue; red"


REJECTED_SETS = [
    "red, pink", "red; not blue", '["red", "bl', "red or blue", "red\nblue (maybe)", "a. red\nb. blue", "red\nnot blue",
    "red. blue.", "redまたはblue", "red oder blue",
]  # fmt: skip


def test_parse_rejects_sets_with_an_unknown_or_negated_part():
    assert [value(COLORS, x) for x in REJECTED_SETS] == [None] * len(REJECTED_SETS)


# -- objects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        '{"order": {"id": "A1"}, "items": ["x", "y"], "total": 1200,}', '{"order": {"id": "A1"}, "items',
        '{"items": [{"name": "A"}, {"name": "B"}, {"na', '{"wrong": {"id": "A1"},',
        '[{"id": "A1"}, {"id', '[{"id": 1}]',
        '{name: {"id": "A1"}}', '{"a": 1} {"a": 2}', 'Example: {"a": 1}\n{"a": 2}', '{"a": "\\ud800"}',
    ],
)  # fmt: skip
def test_parse_does_not_read_parts_of_objects(answer):
    assert value(OBJECT, answer) is None


def test_parse_reads_the_object_after_a_cue():
    wanted = '{"a": 2}'
    assert value(OBJECT, 'Draft: {"a": 1}. Final answer: {"a": 2}') == wanted
    assert value(OBJECT, '下書き {"a": 1}\n回答：\n```json\n{"a": 2}\n```') == wanted
    assert value(OBJECT, '{"a": 2}, again: {"a": 2.0}') == wanted
    assert value(OBJECT, 'Fill {a} and { b }: {"a": 2}') == wanted
    assert value(OBJECT, '<think>{"a": 1}</think>{"a": 2}') == wanted
    assert [value(OBJECT, x) for x in ('{"a": NaN}', '{"a": 1e999}', '{"a": -Infinity}')] == [None] * 3
    assert value(OBJECT, '{"a": "a } and { and \\" in it"}') == '{"a": "a } and { and \\" in it"}'


# -- refusals --------------------------------------------------------------------------------------------------------

REFUSALS = [
    "很抱歉，这个问题不便回答。", "My apologies, but this is something I'm not able to discuss.",
    "I'm sorry, but I can't help with that.", "I'm sorry, I can't.", "I am unable to assist with that request.",
    "I must decline.", "As a large language model, I am not able to do that.", "I won't be able to help with this.",
    "Unfortunately, I cannot provide this information.", "That's not something I can help with.", "Sorry.",
    "I’m sorry, but I can’t assist with that.", "I cannot fulfill this request.", "I'm afraid I can't do that.",
    "I'm not comfortable answering this question.", "I can't help with that. It is against the law to do so.",
    "申し訳ございませんが、そのご要望にはお応えできません。", "お手伝いできません。", "回答を控えさせていただきます。",
    "AIとして、そのような内容にはお答えできません。", "申し訳ありませんが、その依頼には対応できません。",
    "申し訳ありませんが",
    "죄송하지만 도와드릴 수 없습니다.", "해당 요청에는 답변할 수 없습니다.",
    "죄송합니다. 그 요청은 들어드릴 수 없습니다.",
    "抱歉，我无法协助处理这个请求。", "我无法回答这个问题。", "作为一个人工智能语言模型，我不能提供此类信息。",
    "Es tut mir leid, dabei kann ich nicht helfen.", "Ich kann diese Anfrage nicht beantworten.",
    "Je suis désolé, mais je ne peux pas vous aider.", "Je ne peux pas répondre à cette demande.",
    "Lo siento, no puedo ayudarte con eso.", "No puedo responder a esta solicitud.", "I'd rather not answer that.",
    "My programming does not allow me to answer that.", "对不起，我帮不了您。", "Dazu kann ich keine Auskunft geben.",
    "Me es imposible responder a esa pregunta.", "Non posso rispondere a questa domanda.",
    "Desculpe, mas não posso ajudar com isso.",
    "この依頼は実行できません。", "저는 그것을 도와줄 수 없습니다.",
    "I am programmed to be helpful and harmless. I cannot fulfil this request.", "Request denied.",
    "This content violates our policy, so I can't help.", "That's outside the scope of what I can help with.",
    "I prefer not to answer.", "My guidelines prevent me from helping with this.",
    "不適切な内容のため、回答できません。",
    "无法回答该问题，请换一个问题。", "Dazu kann ich nichts sagen.", "Je préfère ne pas répondre à cette question.",
    "Prefiero no responder.",
]  # fmt: skip
ANSWERS = [
    "ご不便をおかけして申し訳ございません。返金は3営業日以内に行われます。", "ご不便をおかけします。",
    "給您帶來不便，非常抱歉，包裹已寄出。",
    "I'm sorry to hear that your parcel is late. Please send us the order number.", "We cannot find your order.",
    "I cannot recommend this hotel enough.", "I'm sorry, we cannot process refunds after 30 days.",
    "Sorry for the delay, your parcel ships tomorrow.", "Yes, I can help with that.", "I can't open the app.",
    "申し訳ございません。ご注文番号をお知らせください。", "申し訳ございませんが、この商品の返品はお受けできません。",
    "すみません、木の椅子のご注文番号をお知らせください。", "죄송합니다. 주문 번호를 알려 주세요.",
    "대단히 죄송합니다. 환불은 7일 이내에만 가능합니다.", "非常抱歉给您带来不便，请提供订单号。",
    "抱歉，该商品无法退货。",
    "Entschuldigung für die Verspätung. Bitte senden Sie uns die Bestellnummer.",
    "Je ne peux pas annuler votre commande.",
    "Der Artikel kann nicht zurückgegeben werden.", "Désolé pour le retard, votre colis arrive demain.",
    "Mi dispiace per il ritardo, il pacco arriva domani.", "Não é possível devolver o produto após 30 dias.",
    "Lo siento, su pedido llegará mañana.", "No puedo cancelar su pedido.", "すみません、在庫がありません。",
    "I can't thank you enough for your help.", "죄송하지만 재고가 없습니다.", "超过30天不能退款。",
    "Request denied: the card was reported as stolen.", "I prefer the blue one.", "That's outside our delivery area.",
    "You asked about us. We cannot ship to Malta.", "Je ne peux pas venir lundi.",
    "Désolé, le remboursement n'est pas possible après 30 jours.", "Leider ist der Artikel ausverkauft.",
]  # fmt: skip


@pytest.mark.parametrize("answer", REFUSALS)
def test_parse_recognizes_refusals_by_what_is_declined(answer):
    assert [parse(task, ZERO, answer).problem for task in (INTENT, OBJECT, TEXT)] == ["refusal"] * 3


@pytest.mark.parametrize("answer", ANSWERS)
def test_parse_takes_an_apology_with_content_as_an_answer(answer):
    assert value(TEXT, answer) == answer
    assert not is_refusal(answer)


@given(st.sampled_from(REFUSALS + ANSWERS) | texts.filter(lambda text: text.strip() and canonical(TEXT, text)))
def test_canonical_accepts_every_reference_text(target):
    variant = ModelVariant(name="m", model="m")
    assert canonical(TEXT, target)
    score = score_sample(TEXT, variant, Example("1", "text", target), ModelOutput("An answer."))
    assert score.outcome == "ok"


def test_score_sample_reports_a_refusal_only_without_a_usable_answer():
    variant = ModelVariant(name="m", model="m")

    def outcome(answer):
        return score_sample(INTENT, variant, Example("1", "t", "refund"), ModelOutput(answer)).outcome

    assert outcome("I'm sorry, I can't help with that.") == "refusal"
    assert outcome("I'm sorry to hear that.\nLabel: refund") == "ok"
    assert outcome("Sorry about your parcel") == "invalid"


# -- judges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ('{"reason": "it quotes { wrongly", "score": 5}', 5), ('{"score": 1, "note": {"score": 5}}', 1),
        ('{"score": 1, "note": "it says {\\"score\\": 5}"}', 1), ('{"score": "4"}', 4), ("**Score:** 4", 4), ("5", 5),
        ('{"score": 4.5}', 4.5), ('{"score": 5.0}', 5), ('```json\n{"reason": "a } b", "score": 2}\n```', 2),
        ('{"score": 1}\nNote: the answer contains {"score": 5}', None), ('{"score": 1, "reason": "cut', None),
        ('{"score": -5}', None), ('{"score": 45}', None), ("4/5", 4), ("1. Accurate\n2. Complete", None),
        ('{"score": true}', None), ("スコアは", None), ("점수: 5", 5), ("评分：4", 4), ("回答：4", 4),
        ("<think>1</think>3", 3),
    ],
)  # fmt: skip
def test_parse_rating_reads_judges_like_answers(answer, score):
    assert parse_rating(Judge(model="judge", rubric="Good?"), [ModelOutput(answer)]).score == score


def test_parse_rating_of_ten_fives_that_quote_a_brace_is_five():
    outputs = [ModelOutput(json.dumps({"reason": f"the brace {'{' * i} is kept", "score": 5})) for i in range(10)]
    rating = parse_rating(Judge(model="judge", rubric="Good?"), outputs)
    assert (rating.score, rating.unreadable) == (5, 0)


def test_parse_pairwise_reads_choices_in_any_form():
    outputs = [ModelOutput(text) for text in ('{"better": "First."}', "**second**")]
    assert parse_pairwise(outputs, "long answer", "short").winner == "candidate"
    assert Evaluate().judge.scale == [1, 5]


def test_words_are_whole_words_beside_letters_with_another_case_form():
    """K and å equal letters of other scripts when case is ignored (the Kelvin and Ångström signs)."""
    assert re.search(any_of(["is"]), "kis", re.IGNORECASE) is None
    assert re.search(any_of(["is"]), "åis", re.IGNORECASE) is None
    assert re.search(any_of(["is"]), "分类is", re.IGNORECASE)


@pytest.mark.parametrize(
    "answer", ["더" * 300 + "긍정x", "긍정" + "것입니다" * 200, "긍정" + "です もの " * 60, "긍정 " * 300]
)
def test_parse_and_verdict_of_repeated_words_of_endings_take_no_exponential_time(answer):
    started = time.process_time()
    value(Task(labels=LABELS["ko"]), answer)
    verdict_of(answer)
    assert time.process_time() - started < 5
