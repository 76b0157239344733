# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Does the form of an answer decide? Eight scripted models give the same answers, in eight styles.

All are right on the same 85 % of the rows and wrong alike on the others, but they write in different styles (bare,
lead-in, fenced, JSON with reason, bold, sentence, list, thinking first), in English, Japanese, Korean and Chinese. Each
answer goes through the reader and the scores of an evaluation. Every style must score within one point of 0.85, and the
gate must deploy the style that scored best over the one that scored worst in at most (1 - confidence_level) / 2 = 2.5 %
of the runs. Prints a table and the commonest answers that were not read; exits 1 when a promise is broken.

    python bench/answer_styles.py [--seeds 200] [--rows 100]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from gemtune.config import Gate, ModelVariant, Task
from gemtune.contents import ModelOutput
from gemtune.data.example import Example
from gemtune.evaluation.comparison import CompareByMetric
from gemtune.evaluation.gate import Evidence, decide
from gemtune.evaluation.predictions import ScoredVariant
from gemtune.evaluation.scorers import SampleScore, score_sample

SHARE_RIGHT = 0.85
LABELS = {
    "en": ["refund", "delivery", "cancellation", "technical support"],
    "ja": ["返金", "配送", "解約", "技術サポート"],
    "ko": ["환불", "배송", "해지", "기술 지원"],
    "zh": ["退款", "物流", "取消订单", "技术支持"],
}
# {x} is the answer, {y} another label
EVERYWHERE = {
    "bare": ["{x}", "{x}\n", " {x} ", "{x}."],
    "fenced": ["```\n{x}\n```", "```json\n\"{x}\"\n```", "```text\n{x}\n```\n", "`{x}`"],
    "JSON with reason": [
        '{{"label": "{x}", "reason": "…"}}', '```json\n{{"reason": "{y}?", "label": "{x}"}}\n```',
        '{{\n  "category": "{x}",\n  "confidence": 0.9,\n  "reason": "{y}"\n}}', "{{'label': '{x}', 'reason': '…'}}",
    ],
    "bold": ["**{x}**", "__{x}__", "**{x}**.", "***{x}***"],
    "list": ["- {x}", "1. {x}", "* **{x}**", "• {x}"],
}  # fmt: skip
BY_LANGUAGE = {
    "lead-in": {
        "en": ["Label: {x}", "Sure! The category is {x}.", "Answer: {x}", "**Category:** {x}"],
        "ja": ["ラベル：{x}", "承知しました。カテゴリは{x}です。", "回答: {x}", "**分類：** {x}"],
        "ko": ["레이블: {x}", "네, 카테고리는 {x}입니다.", "답변: {x}", "**분류:** {x}"],
        "zh": ["标签：{x}", "好的，类别是{x}。", "答案: {x}", "**分类：** {x}"],
    },
    "sentence": {
        "en": [
            "The right label for this text is “{x}”.", "This is {x}.", "{x} is the correct category.",
            "{x}, because they ask for it.",
            "Okay, {x} (high confidence).",
            "I would classify this as {x}.", "The answer is {x} ✅",
        ],
        "ja": [
            "このテキストの正しい分類は「{x}」です。", "これは{x}です。", "{x}が正解です。",
            "{x}、なぜならそう求めているからです。",
            "はい、{x}です（確信度：高）。", "{x}に分類されます。",
            "回答は{x}になります✅",
        ],
        "ko": [
            "이 텍스트의 올바른 분류는 '{x}'입니다.", "이것은 {x}입니다.", "{x}이 정답입니다.",
            "{x}, 왜냐하면 고객이 원하기 때문입니다.",
            "네, {x}입니다 (확신도: 높음).", "{x}로 분류됩니다.",
            "정답은 {x}입니다 ✅",
        ],
        "zh": [
            "该文本的正确类别是“{x}”。", "这是{x}。", "{x}是正确的类别。", "{x}，因为客户这样要求。",
            "所以是{x}（置信度：高）。", "我认为这属于{x}。", "答案是{x}✅",
        ],
    },
    "thinking first": {
        "en": [
            "<think>It mentions {y}, but wants {x}.</think>\n{x}", "Thought: maybe {y}\n{x}",
            "The writer is annoyed.\n\nLabel: {x}", "Reasoning: not {y}.\nAnswer: {x}",
        ],
        "ja": [
            "<think>{y}にも触れているが、{x}だ。</think>\n{x}", "思考：{y}かもしれない\n{x}",
            "文面は明らかだ。\n\nラベル：{x}",
            "理由：{y}ではない。\n回答：{x}",
        ],
        "ko": [
            "<think>{y}도 언급하지만 {x}이다.</think>\n{x}", "생각: {y}일 수도\n{x}", "글이 분명하다.\n\n레이블: {x}",
            "이유: {y}이 아니다.\n답변: {x}",
        ],
        "zh": [
            "<think>提到{y}，但要的是{x}。</think>\n{x}", "思考：也许{y}\n{x}", "文意很清楚。\n\n标签：{x}",
            "理由：不是{y}。\n答案：{x}",
        ],
    },
}  # fmt: skip
STYLES = ["bare", "lead-in", "fenced", "JSON with reason", "bold", "sentence", "list", "thinking first"]


def forms(style: str, language: str) -> list[str]:
    """The ways in which a model of this style writes."""
    return EVERYWHERE[style] if style in EVERYWHERE else BY_LANGUAGE[style][language]


@dataclass
class Study:
    """Accuracies by language and style, a verdict per run, and the answers that were not read."""

    scores: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    deployed: dict[str, list[bool]] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)

    def kept(self) -> bool:
        """Whether every style is within one point of the truth, and best over worst deploys at most as stated."""
        stated = (1 - Gate().confidence_level) / 2
        close = all(abs(score - SHARE_RIGHT) <= 0.01 for own in self.scores.values() for score in own)
        return close and all(np.mean(own) <= stated for own in self.deployed.values())


def run(seed: int, language: str, rows: int, study: Study) -> None:
    """One run: the same answers in eight styles, scored; the best of them against the worst at the gate."""
    rng = np.random.default_rng([seed, *language.encode()])
    labels = LABELS[language]
    task = Task(labels=labels)
    references = rng.integers(0, len(labels), rows)
    wrong = rng.permutation(rows) >= round(SHARE_RIGHT * rows)
    answers = (references + wrong * rng.integers(1, len(labels), rows)) % len(labels)
    others = (answers + rng.integers(1, len(labels), rows)) % len(labels)
    scored: dict[str, list[SampleScore]] = {}
    for style in STYLES:
        variant = ModelVariant(name=style.replace(" ", "_"), model="scripted")
        own = forms(style, language)
        texts = [
            own[rng.integers(len(own))].format(x=labels[answer], y=labels[other])
            for answer, other in zip(answers, others, strict=True)
        ]
        scored[style] = [
            score_sample(task, variant, Example(str(n), f"text {n}", labels[reference]), ModelOutput(text))
            for n, (reference, text) in enumerate(zip(references, texts, strict=True))
        ]
        study.unread.update(text for text, s in zip(texts, scored[style], strict=True) if s.row.parsed is None)
        accuracy = sum(score.scores["accuracy"] for score in scored[style]) / rows
        study.scores.setdefault((language, style), []).append(accuracy)
    ranked = sorted(STYLES, key=lambda style: study.scores[language, style][-1])
    study.deployed.setdefault(language, []).append(_deploys(task, seed, scored, ranked[-1], ranked[0]))


def _deploys(task: Task, seed: int, scored: Mapping[str, Sequence[SampleScore]], candidate: str, baseline: str) -> bool:
    """Whether the gate deploys one style over another."""
    pair = []
    for style in (baseline, candidate):
        own = scored[style]
        role = "candidate" if style == candidate else "baseline"
        variant = ModelVariant.of({"name": role, "model": "scripted", "role": role})
        rows, ones = [score.row for score in own], [1] * len(own)
        pair.append(ScoredVariant(variant, rows, [score.outcome for score in own], [0.1] * len(own), ones, ones))
    gate = Gate(resamples=1000, seed=seed)
    evidence = Evidence(pair, [None] * len(pair[0].rows))
    decision = decide(task, gate, evidence, lambda own, groups: CompareByMetric(task, own, "accuracy", groups))
    return decision.passed


def study_of(seeds: int, rows: int = 100) -> Study:
    """The study over so many runs in each language."""
    study = Study()
    for seed in range(seeds):
        for language in LABELS:
            run(seed, language, rows, study)
    return study


def main() -> int:
    """Run the study; 0 when every promise is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--rows", type=int, default=100)
    arguments = parser.parse_args()
    start = perf_counter()
    study = study_of(arguments.seeds, arguments.rows)
    print(f"{arguments.seeds} runs a language, {arguments.rows} rows each; true accuracy {SHARE_RIGHT}")
    for style in STYLES:
        cells = [study.scores[language, style] for language in LABELS]
        shown = ", ".join(
            f"{language} {np.mean(own):.3f} ({min(own):.3f} to {max(own):.3f})"
            for language, own in zip(LABELS, cells, strict=True)
        )
        print(f"{style}: {shown}")
    for language, own in study.deployed.items():
        print(f"{language}: the best style deployed over the worst in {np.mean(own):.1%} of runs; stated 2.5 %")
    for text, count in study.unread.most_common(10):
        print(f"not read: {text!r} ({count})")
    print(f"promises {'kept' if study.kept() else 'BROKEN'}; {perf_counter() - start:.0f} s")
    return 0 if study.kept() else 1


if __name__ == "__main__":
    sys.exit(main())
