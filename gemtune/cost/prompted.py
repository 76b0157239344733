# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What asking the prompts may cost, before any is asked: on validation rows, and on the test rows that decide.

It is what every run pays, even one that ends with "keep the prompt"; so it has to fit under the limit by itself. A
wording that a prompt search finds is not known yet: it is bounded by the longest that is accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gemtune.catalogue import Catalogue
from gemtune.config import Evaluate, ModelVariant, Plan, Task
from gemtune.cost import spend
from gemtune.cost.bill import Asked
from gemtune.cost.counting import Count, count_prompt
from gemtune.cost.spend import NOTHING, Amount, Line, Opinions
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.inference import prompt_search, prompts
from gemtune.inference.generate import ModelOutput

A_WORDING = 64.0  # tokens of a proposed instruction, likely
Baselines = Sequence[Sequence[ModelVariant]]  # those of one list are asked by one step


@dataclass(frozen=True)
class Prompting:
    """Who asks, how tokens are counted and priced, and the rows of training, validation and test."""

    count: Count
    asking: Evaluate
    settings: Plan
    catalogue: Catalogue
    task: Task
    splits: Sequence[Sequence[Example]]
    _counted: dict[str, list[Amount]] = field(default_factory=dict)

    def sizes(self, variant: ModelVariant) -> list[Amount]:
        """Tokens of one request about a validation row, and about a test row; each prompt is counted once."""
        key = variant.prompt.model_dump_json()
        if key not in self._counted:
            self._counted[key] = self._count(variant, self.splits[1:])
        return self._counted[key]

    def size_on_train(self, variant: ModelVariant) -> Amount:
        """Tokens of one request about a training row."""
        return self._count(variant, self.splits[:1])[0]

    def _count(self, variant: ModelVariant, groups: Sequence[Sequence[Example]]) -> list[Amount]:
        return count_prompt(self.count, self.settings, self.task, variant, groups, self.splits[0])

    def foresee(self, baselines: Baselines) -> tuple[list[Asked], list[Line]]:
        """The variants that asking these on validation rows makes, and what their prompt searches cost.

        Raises `UserError` for one that asks another model: at the base model's price it would escape the limit.
        """
        asked, lines, base = list[Asked](), list[Line](), self.asking.base_model
        other = next((one for group in baselines for one in group if one.model != base), None)
        if other:
            raise UserError(
                f"the baseline {other.name!r} asks {other.model!r}, but evaluate.base_model is {base!r}",
                remedy="ask one base model a run; larger.models tries others",
            )
        for group in baselines:
            everyone = [one for variant in group for one in self._variants(variant)]
            # a judge compares each with the first
            asked += [replace(one, compared=one.rows if n else 0) for n, one in enumerate(everyone)]
            lines += [self._search(variant) for variant in group if variant.prompt.rewrites]
        return asked, lines

    def _variants(self, variant: ModelVariant) -> list[Asked]:
        (own,) = prompt_search.rewritten(variant, ModelOutput())
        known = [self._unasked(one) for one in (own, *prompt_search.grid(variant))]
        wording = Amount(0, self.asking.samples_per_row * prompt_search.MAX_INSTRUCTION_CHARS)
        return [*known, *(self._reworded(known[0], n, wording) for n in range(1, variant.prompt.rewrites + 1))]

    def _reworded(self, one: Asked, number: int, wording: Amount) -> Asked:
        named = one.variant.model_copy(update={"name": f"{one.variant.name}_r{number}"})
        return replace(one, variant=named, input=one.input + wording, wording=wording)

    def _unasked(self, variant: ModelVariant) -> Asked:
        return Asked.unasked(self.asking, variant, self.sizes(variant)[0], len(self.splits[1]))

    def _search(self, variant: ModelVariant) -> Line:
        base = self.asking.base_model
        put = prompt_search.rewrite_request(self.task, variant, self.splits[0], base)
        tokens, longest = self.count(put.system, put.contents), put.max_output_tokens or self.asking.max_output_tokens
        got = Amount(min(longest, variant.prompt.rewrites * A_WORDING), longest)
        what = f"prompt search for {variant.name} on validation"
        return spend.asking_line(what, 1, Amount(tokens, 1.5 * tokens), got, self.catalogue.price("", base))

    def finals(self, asked: Sequence[Asked], champion: ModelVariant | None, judging: Opinions) -> list[Line]:
        """The dearest of these prompts on test rows beside the model in service, and the opinions on both.

        No such model is expected where there is none now, but there may be one by then.
        """
        rows, price = self.splits[2], self.catalogue.price("", self.asking.base_model)
        dearest = max(map(self._best_on_test, asked), key=lambda line: line.cost.most)
        stand_in = ModelVariant(name="champion", model="", prompt=prompts.tuned_prompt(self.task))
        served = self._on_test("the model in service on test", champion or stand_in)
        served = served if champion else spend.unlikely(served)
        likely, most = (judging.lines("the finalists on test", n * len(rows), (n - 1) * len(rows), price)
                        for n in (2 if champion else 1, 2))  # fmt: skip
        met = [spend.between(one, other) for one, other in zip(likely, most, strict=True)]
        return [dearest, served, *met, *judging.check()]

    def _best_on_test(self, one: Asked) -> Line:
        line = self._on_test("best prompt on test", one.variant, one.wording)
        if not one.spent:
            return line
        # how long its answers are is known by now
        known = self._on_test(line.what, one.variant, answer=one.output)
        return spend.between(known, line)

    def _on_test(
        self, what: str, variant: ModelVariant, wording: Amount = NOTHING, answer: Amount | None = None
    ) -> Line:
        rows, price = self.splits[2], self.catalogue.price(variant.base_model, self.asking.base_model)
        asked = Asked.unasked(self.asking, variant, self.sizes(variant)[1], len(rows))
        line = spend.asking_line(what, len(rows), asked.input + wording, answer or asked.output, price)
        base = not variant.tuned_model
        return spend.expected_by_batch(line, self.asking, len(rows), price) if base else line
