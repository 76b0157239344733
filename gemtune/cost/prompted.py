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
from gemtune.config import Contestant, Evaluate, Plan, Task
from gemtune.cost import spend
from gemtune.cost.bill import Asked
from gemtune.cost.counting import Count, count_prompt
from gemtune.cost.spend import NOTHING, Amount, Line, Opinions
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.inference import prompt_search, prompts
from gemtune.inference.generate import Given

A_WORDING = 64.0  # tokens of a proposed instruction, likely
Baselines = Sequence[Sequence[Contestant]]  # those of one list are asked by one step


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

    def sizes(self, contestant: Contestant) -> list[Amount]:
        """Tokens of one request about a validation row, and about a test row; each prompt is counted once."""
        key = contestant.prompt.model_dump_json()
        if key not in self._counted:
            self._counted[key] = self._count(contestant, self.splits[1:])
        return self._counted[key]

    def size_on_train(self, contestant: Contestant) -> Amount:
        """Tokens of one request about a training row."""
        return self._count(contestant, self.splits[:1])[0]

    def _count(self, contestant: Contestant, groups: Sequence[Sequence[Example]]) -> list[Amount]:
        return count_prompt(self.count, self.settings, self.task, contestant, groups, self.splits[0])

    def foresee(self, baselines: Baselines) -> tuple[list[Asked], list[Line]]:
        """The contestants that asking these on validation rows makes, and what their prompt searches cost.

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
            everyone = [one for contestant in group for one in self._variants(contestant)]
            # a judge compares each with the first
            asked += [replace(one, compared=one.rows if n else 0) for n, one in enumerate(everyone)]
            lines += [self._search(contestant) for contestant in group if contestant.prompt.rewrites]
        return asked, lines

    def _variants(self, contestant: Contestant) -> list[Asked]:
        (own,) = prompt_search.variants(contestant, Given())
        known = [self._unasked(one) for one in (own, *prompt_search.grid(contestant))]
        wording = Amount(0, self.asking.samples_asked * prompt_search.LONGEST)
        return [*known, *(self._reworded(known[0], n, wording) for n in range(1, contestant.prompt.rewrites + 1))]

    def _reworded(self, one: Asked, number: int, wording: Amount) -> Asked:
        named = one.contestant.model_copy(update={"name": f"{one.contestant.name}_r{number}"})
        return replace(one, contestant=named, input=one.input + wording, wording=wording)

    def _unasked(self, contestant: Contestant) -> Asked:
        return Asked.unasked(self.asking, contestant, self.sizes(contestant)[0], len(self.splits[1]))

    def _search(self, contestant: Contestant) -> Line:
        base = self.asking.base_model
        put = prompt_search.proposal(self.task, contestant, self.splits[0], base)
        tokens, longest = self.count(put.system, put.contents), put.max_output_tokens or self.asking.max_output_tokens
        got = Amount(min(longest, contestant.prompt.rewrites * A_WORDING), longest)
        what = f"prompt search for {contestant.name} on validation"
        return spend.asking_line(what, 1, Amount(tokens, 1.5 * tokens), got, self.catalogue.price("", base))

    def finals(self, asked: Sequence[Asked], champion: Contestant | None, opinions: Opinions) -> list[Line]:
        """The dearest of these prompts on test rows beside the model in service, and the opinions on both.

        No such model is expected where there is none now, but there may be one by then.
        """
        rows, price = self.splits[2], self.catalogue.price("", self.asking.base_model)
        dearest = max(map(self._best_on_test, asked), key=lambda line: line.cost.most)
        stand_in = Contestant(name="champion", model="", prompt=prompts.tuned_prompt(self.task))
        served = self._on_test("the model in service on test", champion or stand_in)
        served = served if champion else spend.unlikely(served)
        likely, most = (opinions.lines("the finalists on test", n * len(rows), (n - 1) * len(rows), price)
                        for n in (2 if champion else 1, 2))  # fmt: skip
        met = [spend.between(one, other) for one, other in zip(likely, most, strict=True)]
        return [dearest, served, *met, *opinions.check()]

    def _best_on_test(self, one: Asked) -> Line:
        line = self._on_test("best prompt on test", one.contestant, one.wording)
        if not one.spent:
            return line
        # how long its answers are is known by now
        known = self._on_test(line.what, one.contestant, answer=one.output)
        return spend.between(known, line)

    def _on_test(
        self, what: str, contestant: Contestant, wording: Amount = NOTHING, answer: Amount | None = None
    ) -> Line:
        rows, price = self.splits[2], self.catalogue.price(contestant.base_model, self.asking.base_model)
        asked = Asked.unasked(self.asking, contestant, self.sizes(contestant)[1], len(rows))
        line = spend.asking_line(what, len(rows), asked.input + wording, answer or asked.output, price)
        base = not contestant.tuned_model
        return spend.expected_by_batch(line, self.asking, len(rows), price) if base else line
