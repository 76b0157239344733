# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Episodes: short generated tasks whose answers follow from their own text.

An episode is a list of segments (text, weight); the loss is weighted by it. Dense streams of pairs come first and teach
copying and induction; label matching, in-context classification, extraction and opinion follow, from bare keywords to
whole messages as `difficulty` rises from 0 to 1. Weights: 1 for an answer, a little for ordinary text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from tools.pretrain_student import words as w
from tools.pretrain_student.grammar import ACTION_LIST, OBJECT_LIST, Writer, participle

Segment = tuple[str, float]
Episode = list[Segment]
TEXT = 0.05  # weight of ordinary text
GUESS = 0.05  # weight of an answer that does not follow from the text so far
USER, MODEL, SYSTEM, END = "<|user|>", "<|model|>", "<|system|>", "<|end|>"
FIELD_NAMES = (
    ("Text", "Label"),
    ("Input", "Output"),
    ("Message", "Category"),
    ("Sentence", "Class"),
    ("Q", "A"),
    ("Document", "Topic"),
    ("Comment", "Tag"),
    ("Text", "Answer"),
    ("Example", "Label"),
    ("Ticket", "Type"),
    ("Utterance", "Intent"),
    ("Message", "Label"),
    ("Message", "Intent"),
    ("Customer", "Intent"),
)
KEYS = (  # noqa: SIM905
    "name color size price date city email phone brand product material weight author title "
    "country status owner model year quantity address company language duration category rating order_id customer "
    "amount artist album room time guests"
).split()


class Group:
    """One class of an episode: the words of its label and a function that writes a text of the class."""

    def __init__(self, parts: Sequence[str], write: Callable[[float], str]) -> None:
        self.parts = list(parts)
        self.write = write


class EpisodeWriter:
    """Draws episodes; `difficulty` and `easy` are set by the training schedule."""

    def __init__(self, seed: int) -> None:
        self.writer = Writer(seed)
        self.rng = self.writer.rng
        self.difficulty = 0.0
        self.easy = 1.0

    # -- classes -----------------------------------------------------------------------------------------------------

    def _hard(self) -> float:
        return self.rng.random() * self.difficulty

    def _dress(self, core: str, clause: Callable[[], str], hard: float) -> str:
        """Keywords in noise when easy, a message when hard."""
        rng = self.rng
        if hard < 0.25 or rng.random() < 0.15 * (1 - hard):
            noise = [self.writer.word() for _ in range(rng.randint(0, 3))]
            noise.insert(rng.randint(0, len(noise)), core)
            return " ".join(noise)
        return self.writer.message(clause(), extra=max(0.0, hard - 0.35))

    def word_groups(self, count: int, descriptive: bool) -> list[Group]:
        """Classes marked by one or two random words, the label being one of them when `descriptive`."""
        rng, writer = self.rng, self.writer
        size = rng.choice((1, 1, 2))
        marks = writer.distinct_words(count * size)
        groups = []
        for i in range(count):
            own = marks[i * size : (i + 1) * size]

            def write(hard: float, own: list[str] = own) -> str:
                mark = rng.choice(own)
                mark = writer.inflect(mark) if rng.random() < 0.4 else mark
                return self._dress(mark, lambda: self._carry(mark), hard)

            groups.append(Group(own if descriptive else [writer.word()], write))
        return groups

    def _carry(self, mark: str) -> str:
        tokens = self.writer.any_clause().split()
        spot = self.rng.randrange(len(tokens))
        if self.rng.random() < 0.5:
            tokens[spot] = mark
        else:
            tokens.insert(spot, mark)
        return " ".join(tokens)

    def concept_groups(self, count: int, kind: str) -> list[Group]:
        """Classes that are actions or objects; label and text may use different words for the same thing."""
        rng, writer = self.rng, self.writer
        pool = ACTION_LIST if kind == "action" else OBJECT_LIST
        groups = []
        for concept in rng.sample(pool, count):

            def write(hard: float, concept: tuple[str, ...] = concept) -> str:
                form = concept[0] if rng.random() < 0.35 else rng.choice(concept)

                def clause() -> str:
                    act = rng.choice(("request", "howto", "problem", "status", "past", "wish"))
                    if kind == "action":
                        return writer.clause(act, form, rng.choice(rng.choice(OBJECT_LIST)), verbal=True)
                    return writer.clause(act, rng.choice(rng.choice(ACTION_LIST)), form)

                return self._dress(form, clause, hard)

            label = concept[0] if rng.random() < 0.6 else rng.choice(concept)
            if rng.random() < 0.2:
                label = w.NOUN_OF.get(concept[0], label)
            groups.append(Group(label.split(), write))
        return groups

    def pair_groups(self, count: int) -> list[Group]:
        """Classes that are an action on an object (`postpone_meeting`), with near misses among them."""
        rng, writer = self.rng, self.writer
        actions = rng.sample(ACTION_LIST, max(2, count - rng.randint(0, count // 2)))
        objects = rng.sample(OBJECT_LIST, max(2, count - rng.randint(0, count // 2)))
        chosen: dict[tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]]] = {}
        for _ in range(20 * count):
            action, obj = rng.choice(actions), rng.choice(objects)
            if len(chosen) < count and (action[0], obj[0]) not in w.HELD_OUT:
                chosen[action[0], obj[0]] = (action, obj)
        groups = []
        for action, obj in chosen.values():

            def write(hard: float, action: tuple[str, ...] = action, obj: tuple[str, ...] = obj) -> str:
                verb, noun = rng.choice(action), rng.choice(obj)
                act = rng.choice(("request", "howto", "problem", "status", "past", "wish"))
                return self._dress(f"{verb} {noun}", lambda: writer.clause(act, verb, noun, verbal=True), hard)

            verb = action[0] if rng.random() < 0.7 else rng.choice(action)
            nominal = w.NOUN_OF.get(action[0])
            parts = [obj[0], nominal] if nominal and rng.random() < 0.3 else [*verb.split(), *obj[0].split()]
            groups.append(Group(parts, write))
        return groups

    def state_groups(self, count: int) -> list[Group]:
        """Classes that are an object in a state (`screen_broken`)."""
        rng, writer = self.rng, self.writer
        groups = []
        for state, obj in zip(rng.sample(w.STATES, count), rng.sample(OBJECT_LIST, count), strict=True):

            def write(hard: float, state: tuple[str, ...] = state, obj: tuple[str, ...] = obj) -> str:
                adjective, noun = rng.choice(state), rng.choice(obj)
                return self._dress(
                    f"{noun} {adjective}", lambda: writer.clause("problem", "use", noun, adjective), hard
                )

            order = [state[0], obj[0]] if rng.random() < 0.5 else [obj[0], state[0]]
            groups.append(Group(" ".join(order).split(), write))
        return groups

    def topic_groups(self, count: int) -> list[Group]:
        """Classes that are topics, each with its vocabulary."""
        rng = self.rng
        groups = []
        for topic in rng.sample(list(w.TOPICS), count):

            def write(hard: float, pool: tuple[str, ...] = w.TOPICS[topic]) -> str:
                marks = rng.sample(pool, rng.randint(1, 3))
                text = self._carry(marks[0]) if hard > 0.3 else " ".join(marks)
                for mark in marks[1:] if hard > 0.3 else ():
                    text = f"{text} {rng.choice(('and', 'with', 'near the', 'for the'))} {mark}"
                return self.writer.message(text, extra=max(0.0, hard - 0.4)) if hard > 0.3 else text

            groups.append(Group([topic], write))
        return groups

    def act_groups(self, count: int) -> list[Group]:
        """Classes that are speech acts: a request, a question, a problem, an idea..."""
        rng, writer = self.rng, self.writer
        groups = []
        for act in rng.sample(list(w.ACTS), min(count, len(w.ACTS))):

            def write(hard: float, act: str = act) -> str:
                clause = writer.clause(act, rng.choice(rng.choice(ACTION_LIST)), rng.choice(rng.choice(OBJECT_LIST)))
                return writer.message(clause, extra=max(0.0, hard - 0.4))

            groups.append(Group(rng.choice(w.ACTS[act]).split(), write))
        return groups

    def japanese_groups(self, count: int) -> list[Group]:
        """Classes that are topics, in Japanese."""
        groups = []
        for topic in self.rng.sample(list(w.JAPANESE), count):

            def write(hard: float, topic: str = topic) -> str:
                return self.writer.japanese(topic)

            groups.append(Group([topic], write))
        return groups

    def groups(self, count: int, easy: bool, descriptive: bool) -> list[Group]:
        """A family of classes, drawn by weight; bare words only when easy; labels may be `descriptive`."""
        roll = self.rng.random()
        if easy or roll < 0.17:
            return self.word_groups(count, descriptive or self.rng.random() < 0.5)
        if roll < 0.33:
            return self.concept_groups(count, "action")
        if roll < 0.48:
            return self.concept_groups(count, "object")
        if roll < 0.73:
            return self.pair_groups(count)
        if roll < 0.81:
            return self.state_groups(count)
        if roll < 0.90:
            return self.topic_groups(count)
        return self.act_groups(count) if roll < 0.95 else self.japanese_groups(min(count, 6))

    # -- layouts -----------------------------------------------------------------------------------------------------

    def labels(self, groups: Sequence[Group]) -> list[str]:
        """The labels of the classes in one style (snake case, title case...)."""
        style = self.rng.choice(("snake", "snake", "snake", "snake", "snake", "kebab", "space", "title", "upper"))
        join = {"snake": "_", "kebab": "-", "space": " ", "title": " ", "upper": "_"}[style]
        names = []
        for group in groups:
            name = join.join(" ".join(group.parts).split())
            names.append(name.title() if style == "title" else name.upper() if style == "upper" else name)
        return names

    def instruction(self, labels: Sequence[str], what: str) -> str:
        """An instruction that lists the labels."""
        rng = self.rng
        shown = list(labels)
        rng.shuffle(shown)
        kind, kinds = rng.choice(
            (
                ("label", "labels"),
                ("category", "categories"),
                ("class", "classes"),
                ("topic", "topics"),
                ("intent", "intents"),
                ("type", "types"),
                ("tag", "tags"),
            )
        )
        listed = rng.choice(
            (
                ", ".join(shown),
                ", ".join(shown),
                ", ".join(shown),
                "\n".join(f"- {x}" for x in shown),
                " | ".join(shown),
                "; ".join(shown),
                "\n" + "\n".join(shown),
            )
        )
        head = rng.choice(
            (
                f"Classify the {what} into one of these {kinds}: ",
                f"Classify the {what} as one of: ",
                "Options: ",
                f"Choose the {kind} of the {what} from: ",
                f"What is the {kind} of this {what}? Options: ",
                f"Assign one of the following {kinds} to the {what}: ",
                f"Which {kind} fits the {what}? ",
                f"{kinds.title()}: ",
                f"Decide which {kind} fits the {what}. Allowed values: ",
                "Answer with exactly one of: ",
                f"You are a classifier. Possible {kinds}:\n",
                f"Read the {what} and name its {kind}.\n{kinds.title()}: ",
            )
        )
        tail = rng.choice(
            ("", "", ".", ".", " Answer with the label only.", f" Return only the {kind}.", " One answer.")
        )
        return head + listed + tail

    def ask(self, instruction: str, shots: Sequence[tuple[str, str, float]], query: str, answer: str) -> Episode:
        """A task as a chat: examples inline or as earlier turns, the instruction inline or as system turn."""
        rng = self.rng
        first, second = rng.choice(FIELD_NAMES)
        as_system = rng.random() < 0.25 and bool(instruction)
        out: Episode = [(f"{SYSTEM}{instruction}{END}", TEXT)] if as_system else []
        lead = "" if as_system or not instruction else instruction + rng.choice(("\n", "\n\n"))
        if shots and rng.random() < 0.25:
            for text, label, weight in shots:
                out += [(f"{USER}{lead}{text}{END}{MODEL}", TEXT), (f"{label}{END}", weight)]
                lead = ""
            return [*out, (f"{USER}{query}{END}{MODEL}", TEXT), (f"{answer}{END}", 1.0)]
        out.append((f"{USER}{lead}", TEXT))
        gap = rng.choice(("\n", "\n\n"))
        for text, label, weight in shots:
            out += [(f"{first}: {text}\n{second}: ", TEXT), (label, weight), (gap, 0.0)]
        bare = not shots and rng.random() < 0.4
        out.append((query if bare else f"{first}: {query}", TEXT))
        if not bare and rng.random() < 0.7:
            out.append((f"\n{second}:", 0.0))
        return [*out, (f"{END}{MODEL}", 0.0), (f"{answer}{END}", 1.0)]

    # -- tasks -------------------------------------------------------------------------------------------------------

    def stream(self) -> Episode:
        """Repeating pairs: the value of a key follows from its earlier occurrence."""
        rng = self.rng
        count = rng.randint(2, 6)
        drawn = self.writer.distinct_words(3 * count)
        keys = [drawn[i] if rng.random() < 0.7 else f"{drawn[i]} {drawn[2 * count + i]}" for i in range(count)]
        values = drawn[count : 2 * count]
        if rng.random() < 0.4 and count > 2:
            values = [values[i % 2] for i in range(count)]
        mark = rng.choice((" -> ", ": ", " = ", ", "))
        out: Episode = [(USER, 0.0)]
        seen: set[int] = set()
        for _ in range(rng.randint(count + 2, 4 * count)):
            i = rng.randrange(count)
            out += [(keys[i] + mark, TEXT), (values[i], 1.0 if i in seen else GUESS), ("\n", 0.0)]
            seen.add(i)
        i = rng.choice(sorted(seen))
        return [
            *out,
            (keys[i] + (mark.rstrip() if rng.random() < 0.5 else ""), 0.0),
            (END + MODEL, 0.0),
            (values[i] + END, 1.0),
        ]

    def repeat(self) -> Episode:
        """Words or a sentence to be repeated literally, to learn copying."""
        rng = self.rng
        if rng.random() < 0.7:
            text = " ".join(self.writer.distinct_words(rng.randint(3, 16)))
        else:
            text = self.writer.message(self.writer.any_clause())
        if rng.random() < 0.5:
            return [(f"{USER}{text}{END}{MODEL}", TEXT), (text + END, 1.0)]
        again: Episode = [part for _ in range(rng.randint(1, 3)) for part in ((text, 1.0), ("\n", 0.0))]
        return [(f"{USER}{text}\n", TEXT), *again, (f"{END}{MODEL}", 0.0), (text + END, 1.0)]

    def match(self, easy: bool = False) -> Episode:
        """Zero-shot: which of these labels fits the text."""
        rng = self.rng
        count = rng.randint(2, 4 if easy else 12)
        groups = self.groups(count, easy, descriptive=True)
        labels = self.labels(groups)
        index = rng.randrange(len(groups))
        text = groups[index].write(0.0 if easy else self._hard())
        return self.ask(
            self.instruction(labels, rng.choice(("text", "message", "sentence", "ticket"))), [], text, labels[index]
        )

    def few_shot(self, easy: bool = False) -> Episode:
        """In-context: examples show the labels' meaning, and may be the only source of it."""
        rng = self.rng
        count = rng.randint(2, 4) if easy else rng.randint(2, 8)
        groups = self.groups(count, easy, descriptive=False)
        labels = self.labels(groups)
        if rng.random() < (0.6 if easy else 0.4):
            labels = self._arbitrary(len(groups))
        hard = 0.0 if easy else self._hard()
        per_class = rng.randint(2, 5) if easy else rng.randint(1, 3)
        order = [i for i in range(len(groups)) for _ in range(per_class)]
        rng.shuffle(order)
        seen: set[int] = set()
        shots = []
        for i in order:
            shots.append((groups[i].write(hard), labels[i], 1.0 if i in seen else GUESS))
            seen.add(i)
        index = rng.choice(order)
        listed = rng.random() < 0.6
        head = (
            self.instruction(labels, "text")
            if listed
            else rng.choice(("", "Label the text like the examples.", "Continue."))
        )
        return self.ask(head, shots, groups[index].write(hard), labels[index])

    def _arbitrary(self, count: int) -> list[str]:
        roll = self.rng.random()
        if roll < 0.15:
            return [chr(65 + i) for i in range(count)]
        if roll < 0.3:
            return [str(i + 1) for i in range(count)]
        return self.writer.distinct_words(count)

    def opinion(self) -> Episode:
        """Positive or negative, sometimes with examples, sometimes in Japanese."""
        rng = self.rng
        ja = rng.random() < 0.15
        names = (
            ("良い", "悪い")
            if ja and rng.random() < 0.5
            else rng.choice(
                (
                    ("positive", "negative"),
                    ("positive", "negative"),
                    ("positive", "negative"),
                    ("good", "bad"),
                    ("pos", "neg"),
                    ("happy", "unhappy"),
                    ("favorable", "unfavorable"),
                    ("Positive", "Negative"),
                    ("up", "down"),
                )
            )
        )
        options = list(names)
        rng.shuffle(options)
        what = rng.choice(("review", "text", "comment", "sentence", "message", "product review"))
        head = rng.choice(
            (
                f"Classify the sentiment of the {what}: {', '.join(options)}.",
                f"Is this {what} {' or '.join(options)}?",
                f"What is the sentiment of the {what}? Options: {', '.join(options)}",
                f"Sentiment ({' or '.join(options)})",
                f"Decide if the {what} is {' or '.join(options)}. One word.",
            )
        )

        def draw() -> tuple[str, str, float]:
            good = rng.random() < 0.5
            return (self.writer.japanese(good=good) if ja else self.writer.opinion(good)), names[0 if good else 1], 1.0

        shots = [draw() for _ in range(rng.randint(2, 6))] if rng.random() < 0.3 else []
        text, label, _ = draw()
        return self.ask(head, shots, text, label)

    def value(self, key: str) -> str:
        """A plausible value of a field."""
        rng, writer = self.rng, self.writer
        special = {"color": w.COLORS, "material": w.MATERIALS, "city": w.PLACES, "brand": w.BRANDS, "name": w.NAMES}
        if key in special and rng.random() < 0.7:
            return rng.choice(special[key])
        if key in ("price", "amount"):
            return f"${rng.randint(1, 999)}" + rng.choice(("", ".00", ".99", ".50", ".25"))
        if key in ("date", "time") and rng.random() < 0.8:
            return (
                f"{rng.choice(w.MONTHS)} {rng.randint(1, 28)}"
                if key == "date"
                else f"{rng.randint(1, 12)}:{rng.randint(10, 59)}"
            )
        if key in ("year", "quantity", "guests", "order_id", "size", "weight", "duration"):
            return str(rng.randint(1, 99999 if key == "order_id" else 2030)) + rng.choice(
                ("", "", " kg", " cm") if key in ("size", "weight") else ("",)
            )
        if key == "email":
            return f"{writer.invented()}@{writer.invented()}.com"
        drawn = [writer.word() for _ in range(rng.choice((1, 1, 2, 2, 3)))]
        return " ".join(x.capitalize() for x in drawn) if rng.random() < 0.5 else " ".join(drawn)

    def _described(self, keys: Sequence[str]) -> tuple[str, dict[str, str]]:
        rng = self.rng
        fields = {key: self.value(key) for key in keys}
        natural = {
            "price": "costs {v}|for only {v}|sells for {v}|now {v}|at {v}",
            "color": "comes in {v}|a {v} finish|in {v}",
            "material": "made of {v}|built from {v}|{v} body",
            "brand": "by {v}|from {v}|{v} presents it",
            "name": "called {v}|my name is {v}",
            "city": "in {v}|near {v}",
            "date": "on {v}|dated {v}",
            "time": "at {v}",
            "artist": "by {v}|from {v}",
            "album": "on the album {v}|play {v}",
            "guests": "for {v} people|a party of {v}",
        }
        parts = []
        plain = rng.random() < 0.4
        for key, value in fields.items():
            name = key.replace("_", " ")
            pool = (
                "{k}: {v}|{k} is {v}"
                if plain
                else natural.get(key, "the {k} is {v}|{k} {v}|with {k} {v}|{v} is the {k}")
            )
            parts.append(rng.choice(pool.split("|")).replace("{k}", name).replace("{v}", value))
        if rng.random() < 0.6:
            rng.shuffle(parts)
        text = rng.choice((", ", "; ", " and ", ". ", "\n", " ")).join(parts)
        if rng.random() < 0.3 * self.difficulty:
            text = f"{self.writer.message(self.writer.any_clause(), 0.0)} {text}"
        return text, fields

    def extract(self) -> Episode:
        """Extract fields from a description, one as plain text or several as JSON."""
        rng = self.rng
        keys = rng.sample(KEYS, rng.randint(1, 2 + round(4 * self.difficulty)))
        single = len(keys) == 1 and rng.random() < 0.7
        listed = ", ".join(keys)
        head = rng.choice(
            ("What is the {k}?", "Extract the {k}.", "{k}?")
            if single
            else (
                "Extract {k} from the text as JSON.",
                "Return a JSON object with the fields {k}.",
                "Answer in JSON with {k}.",
                "Extract these fields as JSON: {k}.",
            )
        ).replace("{k}", listed)

        def answer(fields: dict[str, str]) -> str:
            return next(iter(fields.values())) if single else json.dumps(fields, ensure_ascii=False)

        drawn = [self._described(keys) for _ in range(1 + rng.choice((0, 0, 0, 1, 2)))]
        shots = [(text, answer(fields), 1.0) for text, fields in drawn[:-1]]
        return self.ask(head, shots, drawn[-1][0], answer(drawn[-1][1]))

    def copy(self) -> Episode:
        """Repeat a sentence of the text: the first, the last, or the one with a word."""
        rng, writer = self.rng, self.writer
        lines = [writer.sentence(writer.any_clause()) for _ in range(rng.randint(1, 3))]
        roll = rng.random()
        if roll < 0.4:
            head, answer = (
                rng.choice(("Summarize the text in one sentence.", "Give a short summary.", "TL;DR")),
                lines[0],
            )
        elif roll < 0.7:
            head, answer = rng.choice(("Repeat the last sentence.", "Copy the last sentence.")), lines[-1]
        else:
            answer = rng.choice(lines)
            word = max(answer.rstrip(".!?").split(), key=len)
            answer = next(line for line in lines if word in line)
            head = f"Copy the sentence that contains the word {word}."
        return self.ask(head, [], " ".join(lines), answer)

    def verdict(self) -> Episode:
        """Yes or no: are two texts about the same thing; is a word in the text."""
        rng, writer = self.rng, self.writer
        pool = rng.choice((ACTION_LIST, OBJECT_LIST))
        concept, another = rng.sample(pool, 2)
        same = rng.random() < 0.5
        form, other = rng.choice(concept), rng.choice(concept if same else another)
        if pool is ACTION_LIST:
            noun = rng.choice(rng.choice(OBJECT_LIST))
            texts = [writer.clause("request", form, noun), writer.clause("past", other, noun)]
        else:
            verb = rng.choice(rng.choice(ACTION_LIST))
            texts = [writer.clause("request", verb, form), writer.clause("past", verb, other)]
        body = f"A: {writer.sentence(texts[0])}\nB: {writer.sentence(texts[1])}"
        return self.ask(
            rng.choice(("Do A and B mean the same? yes or no", "Are A and B about the same thing? Answer yes or no.")),
            [],
            body,
            "yes" if same else "no",
        )

    def synonym(self) -> Episode:
        """Synonyms, from the word lists."""
        rng = self.rng
        concept = rng.choice((*w.ACTIONS, *w.OBJECTS, *w.STATES))
        word, synonym = rng.sample(concept, 2)
        if rng.random() < 0.3:
            word = participle(word) if concept in ACTION_LIST else word
        head = rng.choice(("Another word for {x}?", "Synonym of {x}:", "{x} means the same as")).replace("{x}", word)
        return [(f"{USER}{head}{END}{MODEL}", TEXT), (synonym + END, 0.4)]

    def prose(self) -> Episode:
        """Running text without a task; some of it Japanese or a few words of other scripts."""
        rng, writer = self.rng, self.writer
        roll = rng.random()
        if roll < 0.25:
            return [("".join(writer.japanese() for _ in range(rng.randint(2, 5))), 0.3)]
        if roll < 0.3:
            return [(" ".join(rng.choices(rng.choice(w.OTHER_SCRIPTS).split(), k=8)), 0.3)]
        return [(" ".join(writer.message(writer.any_clause()) for _ in range(rng.randint(2, 4))), 0.3)]

    def draw(self) -> Episode:
        """The next episode of the mixture."""
        rng = self.rng
        if rng.random() < self.easy:
            tasks: list[tuple[float, Callable[[], Episode]]] = [
                (0.32, self.repeat),
                (0.24, self.stream),
                (0.18, lambda: self.match(easy=True)),
                (0.18, lambda: self.few_shot(easy=True)),
                (0.05, self.extract),
                (0.03, self.opinion),
            ]
        else:
            tasks = [
                (0.04, self.stream),
                (0.27, self.match),
                (0.33, self.few_shot),
                (0.09, self.opinion),
                (0.11, self.extract),
                (0.04, self.copy),
                (0.04, self.verdict),
                (0.04, self.synonym),
                (0.04, self.prose),
            ]
        return rng.choices([task for _, task in tasks], [weight for weight, _ in tasks])[0]()
