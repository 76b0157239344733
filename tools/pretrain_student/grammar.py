# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A phrase grammar: concepts and word lists in, natural sentences out.

English sentences are a speech act (request, question, problem, wish, praise...) around an action and an object; a
message wraps one sentence in greetings, details and small slips, as people write. Japanese has a few patterns of its
own so that its characters are worth tokens.
"""

from __future__ import annotations

import random
import re

from tools.pretrain_student import words as w

ACTION_LIST = [concept for concept in w.ACTIONS]
OBJECT_LIST = [concept for concept in w.OBJECTS]
ONSETS = "b c d f g h j k l m n p r s t v z br cl dr fl gr pl st tr sh ch th".split()  # noqa: SIM905
RHYMES = "a e i o u ar el in or us an et il on".split()  # noqa: SIM905
SYLLABLES = [onset + rhyme for onset in ONSETS for rhyme in RHYMES]
WORD_POOL = sorted(
    {
        word
        for form in [
            *(f for c in (*w.ACTIONS, *w.OBJECTS, *w.STATES) for f in c),
            *(t for ts in w.TOPICS.values() for t in ts),
            *w.GOOD,
            *w.BAD,
            *w.COLORS,
            *w.MATERIALS,
            *w.COMMON,
        ]
        for word in form.split()
        if len(word) > 2
    }
)


def third_person(verb: str) -> str:
    """`carry on` becomes `carries on`."""
    head, _, rest = verb.partition(" ")
    if head.endswith("y") and head[-2:-1] not in "aeiou":
        head = head[:-1] + "ies"
    else:
        head += "es" if re.search(r"(s|x|ch|sh|o)$", head) else "s"
    return f"{head} {rest}".strip()


def gerund(verb: str) -> str:
    """`take out` becomes `taking out`."""
    head, _, rest = verb.partition(" ")
    if head in w.VERBS_ING_IRREGULAR:
        head = w.VERBS_ING_IRREGULAR[head]
    elif head.endswith("e") and not head.endswith("ee"):
        head = head[:-1] + "ing"
    else:
        head += "ing"
    return f"{head} {rest}".strip()


def participle(verb: str) -> str:
    """`try out` becomes `tried out`."""
    head, _, rest = verb.partition(" ")
    if head in w.VERBS_PAST_IRREGULAR:
        head = w.VERBS_PAST_IRREGULAR[head]
    elif head.endswith("e"):
        head += "d"
    elif head.endswith("y") and head[-2:-1] not in "aeiou":
        head = head[:-1] + "ied"
    else:
        head += "ed"
    return f"{head} {rest}".strip()


class Writer:
    """Writes words, sentences and messages from a seeded generator."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def invented(self) -> str:
        """An invented word, whose meaning follows only from its context."""
        return "".join(self.rng.choice(SYLLABLES) for _ in range(self.rng.choice([2, 2, 3])))

    def word(self) -> str:
        """A single word, sometimes an invented one."""
        return self.invented() if self.rng.random() < 0.15 else self.rng.choice(WORD_POOL)

    def distinct_words(self, count: int) -> list[str]:
        """`count` different words in random order."""
        words: dict[str, None] = {}
        while len(words) < count:
            words[self.word()] = None
        return list(words)

    def inflect(self, word: str) -> str:
        """The word as it may occur in a text: with another ending or case."""
        roll = self.rng.random()
        if roll < 0.12:
            word = third_person(word)
        elif roll < 0.22:
            word = gerund(word)
        elif roll < 0.32:
            word = participle(word)
        if self.rng.random() < 0.1:
            word = word.capitalize()
        return word

    def noun(self, form: str) -> str:
        """A noun with a determiner."""
        return self.rng.choice(("my ", "the ", "my ", "the ", "this ", "our ", "your ", "their ")) + form

    def fill(self, template: str) -> str:
        """Fill the slots that are independent of the class: names, places, times, numbers, opinions."""
        rng = self.rng
        choices = {
            "{name}": w.NAMES,
            "{place}": w.PLACES,
            "{time}": w.TIMES,
            "{person}": w.PERSONS,
            "{good}": w.GOOD,
            "{bad}": w.BAD,
            "{love}": w.LOVE,
            "{hate}": w.HATE,
        }
        for slot, pool in choices.items():
            while slot in template:
                template = template.replace(slot, rng.choice(pool), 1)
        while "{num}" in template:
            template = template.replace("{num}", str(rng.randint(2, 99)), 1)
        while "{state}" in template:
            template = template.replace("{state}", rng.choice(rng.choice(w.STATES)), 1)
        return template

    def clause(self, act: str, action: str, obj: str, state: str | None = None, verbal: bool = False) -> str:
        """One clause of a speech act about an action and an object, all as surface forms.

        `verbal` requires a clause in which the action is named, `state` one in which the object is in that state.
        """
        pool = tuple(t for t in w.TEMPLATES[act] if "{v" in t) if verbal else w.TEMPLATES[act]
        if state is not None:
            pool = tuple(t for t in w.TEMPLATES["problem"] if "{state}" in t)
        text = self.rng.choice(pool)
        if state is not None:
            text = text.replace("{state}", state)
        noun = self.noun(obj)
        nominal = w.NOUN_OF.get(action)
        if nominal and "{v} {n}" in text and self.rng.random() < 0.06:
            return self.fill(f"{nominal} of {noun}")
        text = text.replace("{v} {n}", f"{action} {noun}").replace("{v}", action).replace("{ving}", gerund(action))
        return self.fill(text.replace("{ved}", participle(action)).replace("{bare}", obj).replace("{n}", noun))

    def any_clause(self) -> str:
        """A clause on a random subject."""
        rng = self.rng
        act = rng.choice(list(w.TEMPLATES))
        return self.clause(act, rng.choice(rng.choice(ACTION_LIST)), rng.choice(rng.choice(OBJECT_LIST)))

    def sentence(self, clause: str) -> str:
        """A clause with a capital and a full stop, mostly."""
        rng = self.rng
        if rng.random() < 0.85:
            clause = clause[:1].upper() + clause[1:]
        if clause[-1] not in ".!?" and rng.random() < 0.85:
            clause += rng.choice("....!")
        return clause

    def message(self, clause: str, extra: float = 0.5) -> str:
        """A clause as people write it: possibly with a greeting, a detail, a closing, a slip."""
        rng = self.rng
        if rng.random() < 0.25 * extra * 2:
            clause = f"{rng.choice(w.OPENERS)}, {clause}"
        parts = [self.sentence(clause)]
        if rng.random() < extra:
            detail = self.fill(rng.choice(w.FILLERS)) if rng.random() < 0.7 else self.sentence(self.any_clause())
            parts.insert(rng.choice((0, 1)), detail)
        if rng.random() < 0.3 * extra * 2:
            parts.append(self.sentence(rng.choice(w.CLOSERS)))
        text = " ".join(parts)
        return text.lower() if rng.random() < 0.08 else text

    def opinion(self, good: bool) -> str:
        """One or two review sentences of one polarity, sometimes by negation."""
        rng = self.rng
        lexicon, other = (w.GOOD, w.BAD) if good else (w.BAD, w.GOOD)
        thing = rng.choice(rng.choice(OBJECT_LIST))
        first, second = rng.sample(lexicon, 2)
        text = rng.choice(
            (
                "the {o} is {a}",
                "{a} {o}, {b} quality",
                "a {a} and {b} {o}",
                "this {o} was {a}",
                "it feels {a}, even {b}",
                "I think the {o} is {a}",
                "my {person} says it is {a}",
                "what a {a} {o}",
                "the {o} from {place} was {a} and {b}",
                "not {c}, but {a}",
                "it isn't {c} at all, it is {a}",
                "far from {c}",
                "I {feel} the {o}, it is {a}",
                "{tail}",
                "the {o} is {a} and {tail}",
                "a {a} story about a {o} and its {person}",
                "as {a} as it is {b}",
                "so {a} that {tail}",
                "{a} , {b} and full of {o}",
                "i expected something {c} , but the {o} is {a}",
            )
        )
        text = text.replace("{o}", thing).replace("{a}", first).replace("{b}", second).replace("{c}", rng.choice(other))
        text = text.replace("{feel}", rng.choice(w.LOVE if good else w.HATE))
        text = self.fill(text.replace("{tail}", rng.choice(w.GOOD_TAILS if good else w.BAD_TAILS)))
        if rng.random() < 0.3:
            text += f"{rng.choice(('. ', ', ', '! '))}{rng.choice(w.GOOD_TAILS if good else w.BAD_TAILS)}"
        return self.sentence(text)

    def japanese(self, topic: str | None = None, good: bool | None = None) -> str:
        """A Japanese sentence about a topic, or an opinion."""
        rng = self.rng
        pool = w.JAPANESE[topic or rng.choice(list(w.JAPANESE))]
        patterns = [p for p in w.JA_PATTERNS if good is None or "{adj}" in p]
        text = rng.choice(patterns).replace("{a}", rng.choice(pool)).replace("{b}", rng.choice(pool))
        adjectives = (w.JA_GOOD + w.JA_BAD) if good is None else (w.JA_GOOD if good else w.JA_BAD)
        return text.replace("{adj}", rng.choice(adjectives)).replace("{name}", rng.choice(w.JA_NAMES))
