# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What of a model's output is its answer: without thoughts, the tokens of chat templates and the fence around it.

The templates are those of ChatML, Harmony (gpt-oss), Llama, Mistral, Gemma, Phi, DeepSeek, Command, EXAONE and Seed.
"""

import re

_THOUGHTS = r"(?:think|thinking|thoughts?|reasoning|reflection|scratchpad|analysis)"
_THOUGHTS_BEGIN = re.compile(
    rf"(?:[<\[◁][|｜]?\s*(?:begin_of_|start_|seed:)?{_THOUGHTS}\s*[|｜]?[>\]▷]"
    r"|<\|channel\|>(?!final)\w+|<unused94>thought)",
    re.IGNORECASE,
)
_THOUGHTS_END = re.compile(
    rf"[<\[◁][|｜]?\s*(?:/|end_of_|end_|/seed:)\s*{_THOUGHTS}\s*[|｜]?[>\]▷]"
    r"|<\|channel\|>final[^<>]*(?:<\|constrain\|>\w+\s*)?<\|message\|>|<unused95>|\[BEGIN FINAL RESPONSE\]"
    r"|\A(?:analysis(?=[A-Z\W]).*)?assistantfinal",  # Harmony without its tokens
    re.IGNORECASE | re.DOTALL,
)
_ROLE = (
    r"(?:<\|(?:im_start|start|start_header_id)\|>|<start_of_turn>)\s*(?:{0})\b\s*(?:<\|end_header_id\|>)?"
    r"|[<\[][|｜](?:{0})[|｜][>\]]"
)
_OWN_TURN = rf"{_ROLE.format('assistant|model|chatbot_token')}|\[/INST\]"
_PROMPT = rf"(?:{_ROLE.format('user|system|developer')}|\[INST\]).*?(?:{_OWN_TURN}|\Z)"
_START = rf"\s|<s>|<bos>|(?!{_THOUGHTS_BEGIN.pattern})<[|｜](?:begin|start)[▁_][\w▁]+[|｜]>"
_TURN_BEGIN = re.compile(rf"\A(?:{_PROMPT}|{_OWN_TURN}|{_START})+", re.IGNORECASE | re.DOTALL)
_TURN_END = re.compile(
    r"<[|｜](?:im_end|im_start|start|end|end[▁_][\w▁]+|eo[tms]_id|endo\w+|return|stop)[|｜]>|\[\|endofturn\|\]"
    r"|<(?:end|start)_of_turn>|<eos>|<pad>|\[INST\]|\[END FINAL RESPONSE\]",
    re.IGNORECASE,
)
_JSON_BEGIN = re.compile(r"\{\s*[^\s{]|\[\s*[\[{\"]")


def visible(answer: str) -> str:
    """The answer without its thoughts, chat tokens and the fence around it; "" if it ends inside its thoughts."""
    text = answer.strip()
    while (inner := _inner(text)) != text:
        text = inner
    return text


def has_thoughts(text: str) -> bool:
    """Whether thoughts in tags end in a text."""
    return _THOUGHTS_END.search(text) is not None


def _inner(text: str) -> str:
    if not _JSON_BEGIN.match(text):  # a tag inside a JSON value is text
        text = _TURN_BEGIN.sub("", _THOUGHTS_END.split(text)[-1])
    text = _TURN_END.split(text)[0]
    text = (text if "<s>" in text else text.partition("</s>")[0]).strip()  # between both tags HTML crosses text out
    if text.startswith("```") and text.endswith("```") and text.count("```") == 2:
        text = re.sub(r"^[\w-]*[ \t]*\n", "", text[3:-3]).strip()
    return "" if _THOUGHTS_BEGIN.match(text) else text
