# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Builds `answer_table.jsonl`: (answer, value) pairs of forms x languages x labels.

`python tests/unit/answer_table.py` writes the file again. A form is read alike in each language: its pairs have the
label as their value in all of them, or nothing in all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("answer_table.jsonl")

LABELS = {
    "en": ["refund", "cancellation", "delivery"],
    "ja": ["返金", "解約", "配送"],
    "ko": ["긍정", "부정", "중립"],
    "zh": ["正面", "负面", "中性"],
    "de": ["Rückerstattung", "Kündigung", "Versand"],
    "fr": ["remboursement", "annulation", "livraison"],
    "es": ["reembolso", "cancelación", "envío"],
    "it": ["rimborso", "disdetta", "consegna"],
    "pt": ["reembolso", "cancelamento", "entrega"],
    "ru": ["возврат", "отмена", "доставка"],
}

# {x} is the label, {y} and {z} are others
EVERYWHERE = {
    "bare": "{x}",
    "white space": " \n{x}  \n",
    "bold": "**{x}**",
    "code": "`{x}`",
    "fence": "```\n{x}\n```",
    "number": "1. {x}",
    "bullet": "- {x}",
    "object": '{{"label": "{x}"}}',
    "object with reason": '{{"label": "{x}", "reason": "{y}"}}',
    "reason first": '{{"reason": "It says {y}.", "label": "{x}"}}',
    "list in object": '{{"labels": ["{x}"]}}',
    "trailing comma": '{{"label": "{x}",}}',
    "object in fence": 'OK:\n```json\n{{\n  "label": "{x}"\n}}\n```',
    "tag": "<label>{x}</label>",
    "box": "\\boxed{{{x}}}",
    "think": "<think>{y}?</think>\n{x}",
    "line of an explanation": "{x}\n...",
    "emoji behind": "{x} ✅",
    "emoji around": "✨ **{x}** 👍🏽",
    "sign behind a line": "{x} ✔️\n\n...",
    "keycap": "1️⃣ {x}",
    "aside": "{x} (90 %)",
    "checklist": "[ ] {y}\n[x] {x}\n[ ] {z}",
    "boxes": "- ☐ {y}\n- ☑ {x}",
    "crosses and a check mark": "❌ {y}\n✅ {x}\n❌ {z}",
    "labels as keys of 1": '{{"{x}": 1, "{y}": 0}}',
    "confidence behind a comma": "{x}, 0.93",
    "table": "| label |\n|---|\n| {x} |",
    "number in brackets": "[1] {x}",
    "quotes in a box": '\\boxed{{"{x}"}}',
    "tag with an attribute": '<label id="1">{x}</label>',
    "end token": "{x}</s>",
    "think in brackets": "[THINK]{y}?[/THINK]\n{x}",
    "labels as keys": '{{"{x}": true, "{y}": false}}',
    "emoji in object": '{{"label": "{x} 🎉"}}',
    "harmony": "<|channel|>analysis<|message|>{y}?<|end|><|start|>assistant<|channel|>final<|message|>{x}<|return|>",
    "harmony without its tokens": "analysisThey write about {y}.assistantfinal{x}",
    "turn of chatml": "<|im_start|>assistant\n{x}<|im_end|>",
    "prompt and turn of chatml": "<|im_start|>user\n{y}?<|im_end|>\n<|im_start|>assistant\n{x}<|im_end|>",
    "turn of llama": "<|begin_of_text|><|start_header_id|>assistant<|end_header_id|>\n\n{x}<|eot_id|>",
    "turn of mistral": "<s>[INST] {y}? [/INST] {x}</s>",
    "turn of gemma": "<start_of_turn>model\n{x}<end_of_turn>",
    "turn of deepseek": "<｜Assistant｜>{x}<｜end▁of▁sentence｜>",
    "thoughts of command": "<|START_THINKING|>{y}<|END_THINKING|><|START_RESPONSE|>{x}<|END_RESPONSE|>",
    "thoughts of sky": "<|begin_of_thought|>{y}<|end_of_thought|>\n<|begin_of_solution|>{x}<|end_of_solution|>",
    "thoughts of seed": "<seed:think>{y}</seed:think>{x}",
    "end of thoughts": "Maybe {y}.\n</think>\n\n{x}",
    "final answer section": "## Analysis\nIt mentions {y}.\n\n## Final Answer\n**{x}**",
    "crossed out in markdown": "~~{y}~~ {x}",
    "math": "$\\text{{{x}}}$",
    "named confidence": "label={x}; confidence=0.95",
    "confidence in brackets": "{x} [0.97]",
    "arrow": "=> {x}",
    "label with a score inside": '{{"label": {{"name": "{x}", "score": 0.9}}}}',
}
REJECTED_EVERYWHERE = {
    "two objects": '{{"label": "{x}"}} {{"label": "{y}"}}',
    "cut object": '{{"label": "{x}", "rea',
    "cut list": '["{x}", "{y}',
    "unclosed think": "<think>{x}",
    "two lines": "{x}\n{y}",
    "label taken back by its value": '{{"{x}": false}}',
    "two items": "1. {x}\n2. {y}",
    "two checked": "[x] {x}\n[x] {y}\n[ ] {z}",
    "two with a sign": "✅ {x}\n✅ {y}",
    "none checked": "[ ] {x}\n[ ] {y}",
    "another label in the sentence": "{x} / {y}",
    "crossed out": "{x} ❌",
    "another label in the aside": "{x} ({y}?)",
    "crossed out, then another": "❌ {x}\n✅ {y}?",
    "open thoughts of harmony": "<|channel|>analysis<|message|>It is {x}",
    "open thoughts of command": "<|START_THINKING|>{x}",
    "turn of the user": "<|im_start|>user\n{x}<|im_end|>",
    "crossed out alone": "~~{x}~~",
}
BY_LANGUAGE = {
    "contrast before": {
        "en": "It is not {y} but {x}.", "ja": "「{y}」ではなく「{x}」です。", "ko": "{y}이 아니라 {x}입니다.",
        "zh": "不是{y}，而是{x}。",
        "de": "Nicht {y}, sondern {x}.", "fr": "Ce n'est pas {y}, mais {x}.", "es": "No es {y}, sino {x}.",
        "it": "Non {y}, ma {x}.", "pt": "Não {y}, mas {x}.",
        "ru": "Это не {y}, а {x}.",
    },
    "contrast after": {
        "en": "{x} rather than {y}", "ja": "{y}というより{x}", "ko": "{y}보다는 {x}", "zh": "{x}，而不是{y}。",
        "de": "{x}, nicht {y}.", "fr": "{x} plutôt que {y}", "es": "{x} en lugar de {y}",
        "it": "{x} invece di {y}", "pt": "{x} em vez de {y}",
        "ru": "{x}, а не {y}",
    },
    "classified as": {
        "en": "I would classify it as {x}.", "ja": "{x}に分類させていただきます。", "ko": "{x}로 분류하겠습니다.",
        "zh": "应归类为{x}。", "de": "Ich würde sie als {x} einstufen.", "fr": "Je le classerais comme {x}.",
        "es": "Lo clasificaría como {x}.", "it": "Lo classificherei come {x}.", "pt": "Eu classificaria como {x}.",
        "ru": "Я бы отнёс это к категории {x}.",
    },
    "in conclusion": {
        "en": "Based on the text: {x}", "ja": "結論として、{x}です。", "ko": "결론적으로 {x}입니다.",
        "zh": "综上所述，答案是{x}。",
        "de": "Basierend auf dem Text: {x}", "fr": "Donc, {x}.", "es": "Respuesta final: {x}",
        "it": "Risposta finale: {x}", "pt": "Resposta final: {x}",
        "ru": "Итоговый ответ: {x}",
    },
    "denial, then a sentence": {
        "en": "It's not {y}. It is {x}.", "ja": "{y}ではありません。{x}です。", "ko": "{y}이 아닙니다. {x}입니다.",
        "zh": "不是{y}。是{x}。", "de": "Nicht {y}. {x}.", "fr": "Ce n'est pas {y}. C'est {x}.",
        "es": "No es {y}. Es {x}.", "it": "Non è {y}. È {x}.", "pt": "Não é {y}. É {x}.",
        "ru": "Это не {y}. Это {x}.",
    },
    "denial in a second sentence": {
        "en": "{x}. Not {y}.", "ja": "{x}です。{y}ではありません。", "ko": "{x}입니다. {y}은 아닙니다.",
        "zh": "{x}。不是{y}。", "de": "{x}. Nicht {y}.", "fr": "{x}. Pas {y}.", "es": "{x}. No {y}.",
        "it": "{x}. Non {y}.", "pt": "{x}. Não {y}.",
        "ru": "{x}. Не {y}.",
    },
    "denial in an aside": {
        "en": "{x} (not {y})", "ja": "{x}（{y}ではない）", "ko": "{x}({y} 아님)", "zh": "{x}（不是{y}）",
        "de": "{x} (nicht {y})", "fr": "{x} (pas {y})", "es": "{x} (no {y})", "it": "{x} (non {y})",
        "pt": "{x} (não {y})",
        "ru": "{x} (не {y})",
    },
    "denial of two": {
        "en": "Neither {y} nor {z}, but {x}.", "ja": "{y}でも{z}でもなく{x}です。",
        "ko": "{y}도 {z}도 아닌 {x}입니다.",
        "zh": "既不是{y}也不是{z}，而是{x}。", "de": "Weder {y} noch {z}, sondern {x}.",
        "fr": "Ni {y} ni {z}, mais {x}.",
        "es": "Ni {y} ni {z}, sino {x}.", "it": "Né {y} né {z}, ma {x}.", "pt": "Nem {y} nem {z}, mas {x}.",
        "ru": "Ни {y}, ни {z}, а {x}.",
    },
    "full stop": dict.fromkeys(LABELS, "{x}.") | {"ja": "{x}。", "zh": "{x}。"},
    "quotes": {
        "en": "“{x}”", "ja": "「{x}」", "ko": "‘{x}’", "zh": "“{x}”", "de": "„{x}“", "fr": "« {x} »", "es": "«{x}»",
        "it": "«{x}»", "pt": "“{x}”",
        "ru": "«{x}»",
    },
    "colon": {
        "en": "Label: {x}", "ja": "ラベル：{x}", "ko": "레이블: {x}", "zh": "标签：{x}", "de": "Kategorie: {x}",
        "fr": "Catégorie : {x}", "es": "Etiqueta: {x}",
        "it": "Etichetta: {x}", "pt": "Rótulo: {x}",
        "ru": "Категория: {x}",
    },
    "answer": {
        "en": "Answer: {x}.", "ja": "回答：{x}。", "ko": "답변: {x}.", "zh": "答案：{x}。", "de": "Antwort: {x}.",
        "fr": "Réponse : {x}.", "es": "Respuesta: {x}.",
        "it": "Risposta: {x}.", "pt": "Resposta: {x}.",
        "ru": "Ответ: {x}.",
    },
    "bold colon": {
        "en": "**Label:** {x}", "ja": "**ラベル:** {x}", "ko": "**라벨:** {x}", "zh": "**类别：** {x}",
        "de": "**Kategorie:** {x}", "fr": "**Catégorie :** {x}", "es": "**Categoría:** {x}",
        "it": "**Categoria:** {x}", "pt": "**Categoria:** {x}",
        "ru": "**Категория:** {x}",
    },
    "bold line": {
        "en": "**Category: {x}**", "ja": "**カテゴリ：{x}**", "ko": "**분류: {x}**", "zh": "**分类：{x}**",
        "de": "**Klasse: {x}**", "fr": "**Classe : {x}**", "es": "**Clase: {x}**",
        "it": "**Classe: {x}**", "pt": "**Classe: {x}**",
        "ru": "**Класс: {x}**",
    },
    "line break": {
        "en": "The label is:\n\n{x}", "ja": "分類は：\n\n{x}", "ko": "분류:\n\n{x}", "zh": "分类是：\n\n{x}",
        "de": "Die Kategorie ist:\n\n{x}", "fr": "La catégorie est :\n\n{x}", "es": "La categoría es:\n\n{x}",
        "it": "La categoria è:\n\n{x}", "pt": "A categoria é:\n\n{x}",
        "ru": "Категория:\n\n{x}",
    },
    "sentence": {
        "en": "The label is {x}.", "ja": "分類は{x}です。", "ko": "분류는 {x}입니다.", "zh": "分类是{x}。",
        "de": "Die Kategorie ist {x}.", "fr": "La catégorie est {x}.", "es": "La categoría es {x}.",
        "it": "La categoria è {x}.", "pt": "A categoria é {x}.",
        "ru": "Категория — {x}.",
    },
    "quoted sentence": {
        "en": 'The label is "{x}".', "ja": "分類は「{x}」です。", "ko": "분류는 '{x}'입니다.", "zh": "分类是“{x}”。",
        "de": "Die Kategorie ist „{x}“.", "fr": "La catégorie est « {x} ».", "es": "La categoría es «{x}».",
        "it": "La categoria è «{x}».", "pt": "A categoria é “{x}”.",
        "ru": "Категория — «{x}».",
    },
    "of the text": {
        "en": "The correct category for this text is {x}.", "ja": "このテキストの正しい分類は{x}です。",
        "ko": "이 텍스트의 올바른 분류는 {x}입니다.", "zh": "该文本的正确类别是{x}。",
        "de": "Die richtige Kategorie für diesen Text ist {x}.", "fr": "La bonne catégorie de ce texte est {x}.",
        "es": "La categoría correcta de este texto es {x}.",
        "it": "La categoria corretta di questo testo è {x}.", "pt": "A categoria correta deste texto é {x}.",
        "ru": "Правильная категория этого текста — {x}.",
    },
    "polite": {
        "en": "Sure! The answer is {x}.", "ja": "承知しました。回答は{x}になります。", "ko": "네, 정답은 {x}입니다.",
        "zh": "好的，答案是{x}。", "de": "Gerne! Die Antwort lautet {x}.", "fr": "Bien sûr, la réponse est {x}.",
        "es": "Claro, la respuesta es {x}.",
        "it": "Certo, la risposta è {x}.", "pt": "Claro, a resposta é {x}.",
        "ru": "Конечно, ответ: {x}.",
    },
    "statement": {
        "en": "This is {x}.", "ja": "これは{x}です。", "ko": "이것은 {x}입니다.", "zh": "这是{x}。",
        "de": "Das ist {x}.",
        "fr": "Ceci est {x}.", "es": "Esto es {x}.",
        "it": "Questo è {x}.", "pt": "Isto é {x}.",
        "ru": "Это {x}.",
    },
    "label first": {
        "en": "{x} is the label.", "ja": "{x}がラベルです。", "ko": "{x}이 레이블입니다.", "zh": "{x}是标签。",
        "de": "{x} ist die Kategorie.", "fr": "{x} est la catégorie.", "es": "{x} es la etiqueta.",
        "it": "{x} è l'etichetta.", "pt": "{x} é o rótulo.",
        "ru": "{x} — это категория.",
    },
    "label first, of the text": {
        "en": "“{x}” is the correct category for this text.", "ja": "「{x}」がこのテキストの正しい分類です。",
        "ko": "'{x}'이 이 텍스트의 올바른 분류입니다.", "zh": "“{x}”是该文本的正确类别。",
        "de": "„{x}“ ist die richtige Kategorie für diesen Text.",
        "fr": "« {x} » est la bonne catégorie de ce texte.", "es": "«{x}» es la categoría correcta de este texto.",
        "it": "«{x}» è la categoria corretta di questo testo.", "pt": "“{x}” é a categoria correta deste texto.",
        "ru": "«{x}» — правильная категория этого текста.",
    },
    "label first, correct": {
        "en": "{x} is correct.", "ja": "{x}が正しいです。", "ko": "{x}이 맞습니다.", "zh": "{x}是正确的。",
        "de": "{x} ist richtig.", "fr": "{x} est correct.", "es": "{x} es correcto.",
        "it": "{x} è corretto.", "pt": "{x} é correto.",
        "ru": "{x} — верно.",
    },
    "label first, after a comma": {
        "en": "{x}, that is the right answer.", "ja": "{x}、これが正しい答えです。", "ko": "{x}, 이것이 정답입니다.",
        "zh": "{x}，这是正确答案。", "de": "{x}, das ist die richtige Antwort.", "fr": "{x}, c'est la bonne réponse.",
        "es": "{x}, esta es la respuesta correcta.",
        "it": "{x}, questa è la risposta corretta.", "pt": "{x}, esta é a resposta correta.",
        "ru": "{x}, это правильный ответ.",
    },
    "opening": {
        "en": "Okay, {x}.", "ja": "はい、{x}です。", "ko": "네, {x}입니다.", "zh": "所以是{x}。", "de": "Gut, {x}.",
        "fr": "Donc, {x}.", "es": "Claro, {x}.",
        "it": "Quindi {x}.", "pt": "Então, {x}.",
        "ru": "Хорошо, {x}.",
    },
    "choice": {
        "en": "I choose {x}.", "ja": "{x}と分類します。", "ko": "{x}로 보입니다.", "zh": "我选择{x}。",
        "de": "Ich wähle {x}.", "fr": "Je choisis {x}.", "es": "Elijo la etiqueta {x}.",
        "it": "Scelgo l'etichetta {x}.", "pt": "Escolho o rótulo {x}.",
        "ru": "Выбираю {x}.",
    },
    "label without a link": {
        "en": "It belongs to the category “{x}”.", "ja": "カテゴリー「{x}」です。", "ko": "카테고리 '{x}'입니다.",
        "zh": "属于类别“{x}”。", "de": "Der Text gehört zur Kategorie „{x}“.", "fr": "C'est la catégorie « {x} ».",
        "es": "Es la categoría «{x}».",
        "it": "È la categoria «{x}».", "pt": "É a categoria “{x}”.",
        "ru": "Это категория «{x}».",
    },
    "ground": {
        "en": "{x}, because they ask for it.", "ja": "{x}、なぜならそう求めているからです。",
        "ko": "{x}, 왜냐하면 고객이 원하기 때문입니다.", "zh": "{x}，因为客户这样要求。",
        "de": "{x}, weil es so verlangt wird.", "fr": "{x}, car le client le demande.",
        "es": "{x}, porque el cliente lo pide.",
        "it": "{x}, perché il cliente lo chiede.", "pt": "{x}, porque o cliente pede isso.",
        "ru": "{x}, потому что клиент об этом просит.",
    },
    "explanation": {
        "en": "{x} - they ask for it", "ja": "{x}：そう求めているため", "ko": "{x} - 고객이 원합니다",
        "zh": "{x}：客户这样要求", "de": "{x} – so wird es verlangt", "fr": "{x} : le client le demande",
        "es": "{x}: el cliente lo pide",
        "it": "{x}: il cliente lo chiede", "pt": "{x}: o cliente pede isso",
        "ru": "{x}: клиент об этом просит",
    },
    "choice as a noun": {
        "en": "Decision: {x}", "ja": "選択：{x}", "ko": "선택: {x}", "zh": "选项：{x}", "de": "Einordnung: {x}",
        "fr": "Décision : {x}", "es": "Decisión: {x}",
        "it": "Decisione: {x}", "pt": "Decisão: {x}",
        "ru": "Решение: {x}",
    },
    "belongs to": {
        "en": "This falls under the category of {x}.", "ja": "このメッセージは{x}のカテゴリに属します。",
        "ko": "이 문의는 {x} 카테고리에 속합니다.", "zh": "该文本属于{x}类别。", "de": "Diese Anfrage fällt unter {x}.",
        "fr": "Cette demande relève de {x}.", "es": "Este mensaje corresponde a {x}.",
        "it": "Questa richiesta rientra in {x}.", "pt": "Este pedido corresponde a {x}.",
        "ru": "Это сообщение относится к категории {x}.",
    },
    "aside in words": {
        "en": "{x} (high confidence)", "ja": "{x}（確信度：高）", "ko": "{x} (확신도: 높음)", "zh": "{x}（置信度：高）",
        "de": "{x} (sehr sicher)", "fr": "{x} (confiance élevée)", "es": "{x} (confianza alta)",
        "it": "{x} (alta confidenza)", "pt": "{x} (confiança alta)",
        "ru": "{x} (высокая уверенность)",
    },
    "sentence with emoji": {
        "en": "The label is {x} ✅", "ja": "分類は{x}です✅", "ko": "분류는 {x}입니다 ✅", "zh": "分类是{x}✅",
        "de": "Die Kategorie ist {x} ✅", "fr": "La catégorie est {x} ✅", "es": "La categoría es {x} ✅",
        "it": "La categoria è {x} ✅", "pt": "A categoria é {x} ✅",
        "ru": "Категория — {x} ✅",
    },
    "ending": {
        "en": "{x}, please.", "ja": "{x}です。", "ko": "{x}입니다.", "zh": "{x}的。", "de": "{x}, bitte.",
        "fr": "{x}, merci.", "es": "{x}, gracias.",
        "it": "{x}, grazie.", "pt": "{x}, obrigado.",
        "ru": "{x}, пожалуйста.",
    },
    "closing sentence": {
        "en": "{x}. I hope this helps!", "ja": "{x}です。お役に立てば幸いです。",
        "ko": "{x}입니다. 도움이 되길 바랍니다.",
        "zh": "{x}。希望对您有帮助。", "de": "{x}. Ich hoffe, das hilft.", "fr": "{x}. J'espère que cela aide.",
        "es": "{x}. Espero que ayude.",
        "it": "{x}. Spero che sia utile.", "pt": "{x}. Espero que ajude.",
        "ru": "{x}. Надеюсь, это поможет.",
    },
    "reasoning, then cue": {
        "en": "The writer is clear.\nAnswer: {x}", "ja": "文面は明らかだ。\n回答：{x}",
        "ko": "글이 분명하다.\n정답: {x}",
        "zh": "文意很清楚。\n答案：{x}", "de": "Der Text ist klar.\nAntwort: {x}",
        "fr": "Le texte est clair.\nRéponse : {x}",
        "es": "El texto es claro.\nRespuesta: {x}",
        "it": "Il testo è chiaro.\nRisposta: {x}", "pt": "O texto é claro.\nResposta: {x}",
        "ru": "Текст понятен.\nОтвет: {x}",
    },
    "thought line": {
        "en": "THOUGHT: maybe {y}\n{x}", "ja": "思考：{y}かもしれない\n{x}", "ko": "생각: {y}일 수도\n{x}",
        "zh": "思考：也许{y}\n{x}", "de": "Überlegung: vielleicht {y}\n{x}", "fr": "Réflexion : peut-être {y}\n{x}",
        "es": "Razonamiento: quizás {y}\n{x}",
        "it": "Ragionamento: forse {y}\n{x}", "pt": "Raciocínio: talvez {y}\n{x}",
        "ru": "Рассуждение: может быть, {y}\n{x}",
    },
    "offer of more help": {
        "en": "{x}. Let me know if you need anything else!",
        "ja": "{x}です。ご不明な点がございましたらお知らせください。",
        "ko": "{x}입니다. 더 궁금한 점이 있으시면 말씀해 주세요.", "zh": "{x}。如果您还有其他问题，请告诉我。",
        "de": "{x}. Zögern Sie nicht zu fragen, falls Sie mehr brauchen.",
        "fr": "{x}. N'hésitez pas si vous avez d'autres questions.",
        "es": "{x}. No dudes en preguntar si necesitas algo más.", "it": "{x}. Non esitare a chiedere se hai domande.",
        "pt": "{x}. Não hesite em perguntar se precisar de algo.",
        "ru": "{x}. Обращайтесь, если у вас есть вопросы.",
    },
    "ground, then conclusion": {
        "en": "They say so, therefore {x}.", "ja": "そう書いてあります。したがって{x}です。",
        "ko": "그렇게 쓰여 있습니다. 따라서 {x}입니다.",
        "zh": "文中这样写，因此是{x}。", "de": "So steht es da, daher {x}.", "fr": "C'est écrit, donc {x}.",
        "es": "Así lo dice, por lo tanto {x}.", "it": "Lo dice, quindi {x}.", "pt": "Está escrito, portanto {x}.",
        "ru": "Так написано, следовательно, {x}.",
    },
    "lines, then a lead-in": {
        "en": "They say so.\nThe right category is {x}.", "ja": "そう書いてあります。\n正しい分類は{x}です。",
        "ko": "그렇게 쓰여 있습니다.\n올바른 분류는 {x}입니다.", "zh": "文中这样写。\n正确的分类是{x}。",
        "de": "So steht es da.\nDie richtige Kategorie ist {x}.", "fr": "C'est écrit.\nLa bonne catégorie est {x}.",
        "es": "Así lo dice.\nLa categoría correcta es {x}.", "it": "Lo dice.\nLa categoria corretta è {x}.",
        "pt": "Está escrito.\nA categoria correta é {x}.",
        "ru": "Так написано.\nПравильная категория: {x}",
    },
    "yes and no": {
        "en": "{x}: yes\n{y}: no\n{z}: no", "ja": "{x}：はい\n{y}：いいえ\n{z}：いいえ",
        "ko": "{x}: 예\n{y}: 아니요\n{z}: 아니요",
        "zh": "{x}：是\n{y}：否\n{z}：否", "de": "{x}: ja\n{y}: nein\n{z}: nein",
        "fr": "{x} : oui\n{y} : non\n{z} : non",
        "es": "{x}: sí\n{y}: no\n{z}: no", "it": "{x}: sì\n{y}: no\n{z}: no", "pt": "{x}: sim\n{y}: não\n{z}: não",
        "ru": "{x}: да\n{y}: нет\n{z}: нет",
    },
    "aside that names it again": {
        "en": "{x} (they want a {x})", "ja": "{x}（{x}の話のため）", "ko": "{x} ({x} 이야기)",
        "zh": "{x}（客户提到{x}）",
        "de": "{x} (es geht um {x})", "fr": "{x} (on parle de {x})", "es": "{x} (habla de {x})",
        "it": "{x} (parla di {x})", "pt": "{x} (fala de {x})",
        "ru": "{x} (речь о категории {x})",
    },
    "object with native key": {
        "en": '{{"category": "{x}"}}', "ja": '{{"ラベル": "{x}", "理由": "{y}"}}',
        "ko": '{{"레이블": "{x}", "이유": "{y}"}}',
        "zh": '{{"标签": "{x}", "理由": "{y}"}}', "de": '{{"Kategorie": "{x}", "Grund": "{y}"}}',
        "fr": '{{"catégorie": "{x}", "raison": "{y}"}}', "es": '{{"categoría": "{x}", "razón": "{y}"}}',
        "it": '{{"categoria": "{x}", "motivo": "{y}"}}', "pt": '{{"categoria": "{x}", "motivo": "{y}"}}',
        "ru": '{{"категория": "{x}", "причина": "{y}"}}',
    },
}  # fmt: skip
REJECTED_BY_LANGUAGE = {
    "denial of both": {
        "en": "Neither {x} nor {y}.", "ja": "{x}でも{y}でもありません。", "ko": "{x}도 {y}도 아닙니다.",
        "zh": "不是{x}，也不是{y}。", "de": "Weder {x} noch {y}.", "fr": "Ni {x} ni {y}.", "es": "Ni {x} ni {y}.",
        "it": "Né {x} né {y}.", "pt": "Nem {x} nem {y}.",
        "ru": "Ни {x}, ни {y}.",
    },
    "not only": {
        "en": "Not only {x} but also {y}.", "ja": "{x}だけでなく{y}も", "ko": "{x}뿐만 아니라 {y}도",
        "zh": "不仅是{x}，而且是{y}。", "de": "Nicht nur {x}, sondern auch {y}.",
        "fr": "Non seulement {x} mais aussi {y}.",
        "es": "No solo {x} sino también {y}.", "it": "Non solo {x} ma anche {y}.", "pt": "Não só {x} mas também {y}.",
        "ru": "Не только {x}, но и {y}.",
    },
    "denial and a doubt": {
        "en": "Not {x}. Maybe {y}.", "ja": "{x}ではない。{y}かもしれない。",
        "ko": "{x}이 아닙니다. {y}일 수도 있습니다.",
        "zh": "不是{x}。可能是{y}。", "de": "Nicht {x}. Vielleicht {y}.", "fr": "Pas {x}. Peut-être {y}.",
        "es": "No es {x}. Quizás {y}.", "it": "Non è {x}. Forse {y}.", "pt": "Não é {x}. Talvez {y}.",
        "ru": "Не {x}. Возможно, {y}.",
    },
    "negation": {
        "en": "It is not {x}.", "ja": "{x}ではありません。", "ko": "{x}이 아닙니다.", "zh": "不是{x}。",
        "de": "Das ist nicht {x}.",
        "fr": "Ce n'est pas {x}.", "es": "No es {x}.",
        "it": "Non è {x}.", "pt": "Não é {x}.",
        "ru": "Это не {x}.",
    },
    "negated lead-in": {
        "en": "The label is not {x}.", "ja": "分類は{x}ではない。", "ko": "분류는 {x}이 아닙니다.",
        "zh": "分类不是{x}。",
        "de": "Die Kategorie ist nicht {x}.", "fr": "La catégorie n'est pas {x}.", "es": "La categoría no es {x}.",
        "it": "La categoria non è {x}.", "pt": "A categoria não é {x}.",
        "ru": "Категория — не {x}.",
    },
    "conclusion denied": {
        "en": "They say so, therefore not {x}.", "ja": "そう書いてあります。したがって{x}ではありません。",
        "ko": "그렇게 쓰여 있습니다. 따라서 {x}이 아닙니다.", "zh": "文中这样写，因此不是{x}。",
        "de": "So steht es da, daher nicht {x}.", "fr": "C'est écrit, donc pas {x}.",
        "es": "Así lo dice, por lo tanto no {x}.", "it": "Lo dice, quindi non {x}.",
        "pt": "Está escrito, portanto não {x}.",
        "ru": "Так написано, следовательно, не {x}.",
    },
    "all but it": {
        "en": "Everything except {x}.", "ja": "{x}以外です。", "ko": "{x} 외의 것입니다.", "zh": "除了{x}以外。",
        "de": "Alles außer {x}.", "fr": "Tout sauf {x}.", "es": "Todo menos {x}.", "it": "Tutto tranne {x}.",
        "pt": "Tudo menos {x}.",
        "ru": "Всё, кроме {x}.",
    },
    "yes to two": {
        "en": "{x}: yes\n{y}: yes", "ja": "{x}：はい\n{y}：はい", "ko": "{x}: 예\n{y}: 예", "zh": "{x}：是\n{y}：是",
        "de": "{x}: ja\n{y}: ja", "fr": "{x} : oui\n{y} : oui", "es": "{x}: sí\n{y}: sí", "it": "{x}: sì\n{y}: sì",
        "pt": "{x}: sim\n{y}: sim",
        "ru": "{x}: да\n{y}: да",
    },
    "shares": dict.fromkeys(LABELS, "{x}: 0.7\n{y}: 0.3"),
    "negated verdict": {
        "en": "{x} is not the label.", "ja": "{x}はラベルではありません。", "ko": "{x}은 레이블이 아닙니다.",
        "zh": "{x}不是标签。", "de": "{x} ist nicht die Kategorie.", "fr": "{x} n'est pas la catégorie.",
        "es": "{x} no es la etiqueta.",
        "it": "{x} non è l'etichetta.", "pt": "{x} não é o rótulo.",
        "ru": "{x} — не категория.",
    },
    "doubtful explanation": {
        "en": "{x} - not sure", "ja": "{x}：確信がない", "ko": "{x} - 확실하지 않음", "zh": "{x}：可能",
        "de": "{x} – vielleicht", "fr": "{x} : peut-être", "es": "{x}: quizás",
        "it": "{x}: forse", "pt": "{x}: talvez",
        "ru": "{x} — возможно",
    },
    "doubtful aside": {
        "en": "{x} (not sure)", "ja": "{x}（確信がない）", "ko": "{x} (확실하지 않음)", "zh": "{x}（可能）",
        "de": "{x} (vielleicht)", "fr": "{x} (peut-être)", "es": "{x} (quizás)",
        "it": "{x} (forse)", "pt": "{x} (talvez)",
        "ru": "{x} (возможно)",
    },
    "wrong": {
        "en": "{x} is incorrect.", "ja": "{x}は不正解です。", "ko": "{x}은 틀린 분류입니다.", "zh": "{x}是不正确的。",
        "de": "{x} ist falsch.", "fr": "{x} est incorrect.", "es": "{x} es incorrecto.",
        "it": "{x} è sbagliato.", "pt": "{x} está incorreto.",
        "ru": "{x} — неверно.",
    },
    "verdict on another": {
        "en": "{x} is the topic, {y} the category.", "ja": "{x}が話題で、{y}が分類です。",
        "ko": "{x}이 주제이고 {y}이 분류입니다.", "zh": "{x}是主题，{y}是类别。",
        "de": "{x} ist das Thema, {y} die Kategorie.", "fr": "{x} est le sujet, {y} la catégorie.",
        "es": "{x} es el tema, {y} la categoría.",
        "it": "{x} è il tema, {y} la categoria.", "pt": "{x} é o tema, {y} a categoria.",
        "ru": "{x} — тема, {y} — категория.",
    },
    "alternatives": {
        "en": "{x} or {y}", "ja": "{x}または{y}", "ko": "{x} 또는 {y}", "zh": "{x}或{y}", "de": "{x} oder {y}",
        "fr": "{x} ou {y}", "es": "{x} o {y}",
        "it": "{x} o {y}", "pt": "{x} ou {y}",
        "ru": "{x} или {y}",
    },
    "alternatives after a colon": {
        "en": "Label: {x} or {y}", "ja": "ラベル：{x}または{y}", "ko": "레이블: {x} 또는 {y}", "zh": "标签：{x}或{y}",
        "de": "Kategorie: {x} oder {y}", "fr": "Catégorie : {x} ou {y}", "es": "Etiqueta: {x} o {y}",
        "it": "Etichetta: {x} o {y}", "pt": "Rótulo: {x} ou {y}",
        "ru": "Категория: {x} или {y}",
    },
    "doubt": {
        "en": "The label might be {x}.", "ja": "分類は{x}かもしれません。", "ko": "분류는 {x}일 수도 있습니다.",
        "zh": "类别可能是{x}。",
        "de": "Vielleicht ist die Kategorie {x}.", "fr": "La catégorie est peut-être {x}.",
        "es": "Quizás la categoría es {x}.",
        "it": "Forse la categoria è {x}.", "pt": "Talvez a categoria seja {x}.",
        "ru": "Возможно, категория — {x}.",
    },
    "second thought": {
        "en": "{x}. No, {y}.", "ja": "{x}です。いや、{y}です。", "ko": "{x}입니다. 아니, {y}입니다.",
        "zh": "{x}。不，{y}。",
        "de": "{x}. Nein, {y}.", "fr": "{x}. Non, {y}.", "es": "{x}. No, {y}.",
        "it": "{x}. No, {y}.", "pt": "{x}. Não, {y}.",
        "ru": "{x}. Нет, {y}.",
    },
}  # fmt: skip


class Pair(NamedTuple):
    """One line of the table: the form's name, the language, the answer, and its value (None: invalid)."""

    form: str
    language: str
    answer: str
    value: str | None


def build() -> Iterator[Pair]:
    """All pairs, by language."""
    for language, labels in LABELS.items():
        everywhere = {name: dict.fromkeys(LABELS, form) for name, form in (EVERYWHERE | REJECTED_EVERYWHERE).items()}
        for name, forms in (everywhere | BY_LANGUAGE | REJECTED_BY_LANGUAGE).items():
            rejected = name in REJECTED_EVERYWHERE or name in REJECTED_BY_LANGUAGE
            for i, label in enumerate(labels):
                answer = forms[language].format(x=label, y=labels[i - 1], z=labels[i - 2])
                yield Pair(name, language, answer, None if rejected else label)


def read() -> list[Pair]:
    """The pairs of the file."""
    return [Pair(**json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    lines = [json.dumps(pair._asdict(), ensure_ascii=False) + "\n" for pair in build()]
    FILE.write_text("".join(lines), encoding="utf-8")
