# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The base's tokenizer: byte-level BPE, trained on the generated corpus; a word is the same token in every position.

A small model has no capacity to learn that ` refund`, `refund` after an underscore and `Refund` are one word. So every
Latin word begins with a mark, the single space between two such words is dropped (the mark implies it), and capitals
are a mark before the small letter. All other text is encoded as bytes. Decoding an encoding returns the
text, whatever it is, including the marks' own characters.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tools.pretrain_student import words as w
from tools.pretrain_student.episodes import EpisodeWriter

VOCABULARY = 4096
SPECIAL = ("<|pad|>", "<|bos|>", "<|end|>", "<|user|>", "<|model|>", "<|system|>")
# Private-use characters: the next letter is a capital; a Latin word begins; the character before is meant literally.
CAPITAL, WORD, ESCAPE = "\ue000", "\ue001", "\ue002"
CHAT_TEMPLATE = (
    "<|bos|>{% for m in messages %}{% set r = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<|' + r + '|>' }}{{ m['content'] + '<|end|>' }}{% endfor %}{% if add_generation_prompt %}<|model|>{% endif %}"
)


def _tokenizer() -> Tokenizer:
    capitals = string.ascii_uppercase
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(CAPITAL, CAPITAL + ESCAPE),
            normalizers.Replace(WORD, WORD + ESCAPE),
            *(normalizers.Replace(Regex(f"(?<![A-Za-z]){c}"), WORD + c) for c in string.ascii_letters),
            normalizers.Replace(Regex(f"(?<=[A-Za-z]) (?={WORD}[A-Za-z])"), ""),
            *(normalizers.Replace(WORD + c, CAPITAL + WORD + c.lower()) for c in capitals),
            *(normalizers.Replace(c, CAPITAL + c.lower()) for c in capitals),
        ]
    )
    pattern = (
        rf"{CAPITAL}|{WORD}?[a-z]+|\p{{Hiragana}}+|[\p{{Katakana}}ー]+|[\p{{L}}&&[^a-z]]+|\p{{N}}"
        rf"|[^\s\p{{L}}\p{{N}}{CAPITAL}{WORD}]{{1,3}} ?|\n+|\s"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.ByteLevel(),
            decoders.Fuse(),
            *(decoders.Replace(CAPITAL + WORD + c.lower(), WORD + c) for c in capitals),
            *(decoders.Replace(CAPITAL + c.lower(), c) for c in capitals),
            decoders.Replace(Regex(f"(?<=[A-Za-z]){WORD}(?=[A-Za-z])"), " "),
            decoders.Replace(Regex(f"{WORD}(?!{ESCAPE})"), ""),
            decoders.Replace(WORD + ESCAPE, WORD),
            decoders.Replace(CAPITAL + ESCAPE, CAPITAL),
        ]
    )
    return tokenizer


def corpus(seed: int, episodes: int) -> Iterator[str]:
    """Text to train the tokenizer on: episodes, and every word list, so that each word occurs."""
    source = EpisodeWriter(seed)
    source.easy, source.difficulty = 0.15, 1.0
    source.writer.invented = lambda: source.writer.rng.choice(w.NAMES)  # type: ignore[method-assign]
    for _ in range(episodes):
        yield "".join(text for text, _ in source.draw())
    for concept in (*w.ACTIONS, *w.OBJECTS, *w.STATES, *w.TOPICS.values()):
        for form in concept:
            yield from [f"{form} {form}"] * 12
    for form in (*w.GOOD, *w.BAD, *w.MIXED, *w.COMMON, *w.NOUN_OF.values()):
        yield from [form] * 20
    kana = "".join(chr(i) for i in (*range(0x3041, 0x3094), *range(0x30A1, 0x30F5), 0x30FC))
    for character in (*kana, *w.KANJI, "。", "、", "「", "」", "？"):
        yield from [f"a{character}1"] * 30
    for form in (form for forms in (*w.JAPANESE.values(), w.JA_GOOD, w.JA_BAD) for form in forms):
        yield from [form] * 20


def train_tokenizer(seed: int, out: Path, episodes: int = 20_000) -> PreTrainedTokenizerFast:
    """Train and save the tokenizer; returns it as a Transformers tokenizer."""
    tokenizer = _tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=3,
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(seed, episodes), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        additional_special_tokens=list(SPECIAL[3:]),
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(out)
    return fast
