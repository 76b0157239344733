# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Reinforcement tuning: policy gradient with group baselines (GRPO: Shao et al., 2024), pulled to the starting model.

At each step the model answers every prompt of a batch several times. An answer's advantage is its reward less the mean
of its prompt's answers, over their standard deviation, so a prompt whose answers all have the same reward teaches
nothing. One optimizer step is taken on each batch, so the policy gradient needs no importance weights. The penalty is
the estimate k3 (Schulman, 2020) of the Kullback-Leibler divergence from the model before the job. Equal answers of a
prompt are read once, and a batch is split so that memory does not grow with the number of samples.
"""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from emulator.engines.base import GenerateRequest, ReinforcementRow, Reward, TuningSpec
from emulator.engines.student.chat import ChatEncoder, Encoded
from emulator.engines.student.decoding import Decoder
from emulator.engines.student.training import LoraRun, TrainingSettings, micro_batches

KL_WEIGHT = 0.02
_START = "start"


class ReinforcementRun(LoraRun):
    """Rewards of sampled answers are raised; rows are prompts."""

    def __init__(
        self, model: Any, spec: TuningSpec, settings: TrainingSettings, encoder: ChatEncoder, reward: Reward
    ) -> None:
        super().__init__(model, spec, settings)
        self._encoder, self._reward = encoder, reward
        self._steps = 0
        self._has_moved = False
        if spec.initial_adapter is not None:
            self.model.load_adapter(str(spec.initial_adapter), _START)

    def update(self, rows: Sequence[ReinforcementRow]) -> dict[str, float]:
        """Sample answers, score them, take one step."""
        self._steps += 1
        answers = self._sample(rows, self.spec.samples_per_prompt, 1.0)
        scored = [(row, text) for row, group in zip(rows, answers, strict=True) for text, _ in group]
        rewards = iter(self._reward(scored))
        samples: dict[Encoded, float] = {}  # the sum of the advantages of equal answers
        counts: dict[Encoded, int] = {}
        values: list[float] = []
        for group in answers:
            own = [next(rewards) for _ in group]
            values += own
            self._has_moved |= len({*own}) > 1
            mean, spread = statistics.fmean(own), statistics.pstdev(own)
            for (_, encoded), value in zip(group, own, strict=True):
                samples[encoded] = samples.get(encoded, 0.0) + (value - mean) / (spread + 1e-6)
                counts[encoded] = counts.get(encoded, 0) + 1
        kl = 0.0
        if self._has_moved:  # before the first signal the gradient, which is the penalty's alone, is zero
            kl = sum(self._backward(batch, samples, counts, len(values)) for batch in micro_batches(list(samples)))
            self.step()
        return {"/train_mean_reward": statistics.fmean(values), "/train_mean_kl": kl}

    def evaluate(self, rows: Sequence[ReinforcementRow]) -> dict[str, float]:
        """The mean reward of the most likely answers to validation prompts; empty without them."""
        if not rows:
            return {}
        answers = self._sample(rows, 1, 0.0)
        rewards = self._reward([(row, group[0][0]) for row, group in zip(rows, answers, strict=True)])
        return {"/eval_mean_reward": statistics.fmean(rewards)}

    def _sample(
        self, rows: Sequence[ReinforcementRow], samples: int, temperature: float
    ) -> list[list[tuple[str, Encoded]]]:
        """For each prompt its answers: text, and token ids with the prompt's."""
        spec, encoder = self.spec, self._encoder
        limit = self.settings.max_tokens - min(spec.max_output_tokens, self.settings.max_tokens // 2)
        prompts = [encoder.prompt(row.turns, row.system)[-limit:] for row in rows]
        first_seed = (spec.seed + 1) * 1_000_003 + self._steps * 10_007
        requests = [
            GenerateRequest(
                row.turns,
                temperature=temperature,
                top_p=1.0,
                max_output_tokens=min(spec.max_output_tokens, self.settings.max_tokens // 2),
                candidate_count=samples,
                seed=first_seed + number,
                logprobs=0,
            )
            for number, row in enumerate(rows)
        ]
        self.model.eval()
        self.model.merge_adapter()
        try:
            generations = Decoder(self.causal, encoder, lambda: 0).generate(requests, prompts)
        finally:
            self.model.unmerge_adapter()
            self.model.train()
        end = encoder.answer("")[-1:]
        answers = []
        for prompt, generation in zip(prompts, generations, strict=True):
            group = []
            for candidate in generation.candidates:
                ids = [token.token_id for token in candidate.tokens] + end * (candidate.finish_reason == "STOP")
                mask = (False,) * len(prompt) + (True,) * len(ids)
                group.append((candidate.text, Encoded((*prompt, *ids), mask)))
            answers.append(group)
        return answers

    def _backward(
        self, batch: Sequence[Encoded], advantages: dict[Encoded, float], counts: dict[Encoded, int], total: int
    ) -> float:
        """Add the gradient of a part of a step's `total` answers; its share of the mean divergence."""
        logits, targets, owner = self.answer_logits(batch)
        scores = torch.log_softmax(logits, -1).gather(1, targets[:, None])[:, 0]
        with torch.no_grad(), self._at_start():
            before, _, _ = self.answer_logits(batch)
            reference = torch.log_softmax(before, -1).gather(1, targets[:, None])[:, 0]
        ratio = reference - scores
        penalty = ratio.exp() - ratio - 1
        lengths = torch.bincount(owner, minlength=len(batch))
        weight = (torch.tensor([counts[row] for row in batch]) / lengths / total)[owner]
        gain = (torch.tensor([advantages[row] for row in batch]) / lengths / total)[owner]
        divergence = (weight * penalty).sum()
        (KL_WEIGHT * divergence - (gain * scores).sum()).backward()  # type: ignore[no-untyped-call]
        return float(divergence.detach())

    @contextmanager
    def _at_start(self) -> Iterator[None]:
        """The model as it was before the job."""
        if self.spec.initial_adapter is None:
            with self.model.disable_adapter():
                yield
            return
        self.model.set_adapter(_START)
        try:
            yield
        finally:
            self.model.set_adapter("default")
