# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop of a tuning job: LoRA (Hu et al., 2021) by supervised loss, by DPO (Rafailov et al., 2023), or by
policy gradient with group baselines (GRPO: Shao et al., 2024), pulled to the starting model.

An own loop, because logits are needed only at answer positions: a prompt of a hundred tokens with an answer of four
costs a twenty-fifth of the output layer. Metrics are those of the service, computed on answer tokens at every step.
Without dropout, only the order of rows and the initial adapter weights are random; both come from the seed.
"""

import math
import random
import statistics
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch.nn import functional

from emulator.engines.base import (
    Checkpoint,
    GenerateRequest,
    ReinforcementRow,
    Reward,
    TuningSpec,
    TuningTask,
    follow,
    schedule,
)
from emulator.engines.student.chat import ChatEncoder, Encoded
from emulator.engines.student.decoding import Decoder
from emulator.engines.student.weights import write_fingerprint

Pair = tuple[Encoded, Encoded]
LENGTH_MULTIPLE = 16  # of padded rows
# Padded tokens that are computed at once: the shipped base takes up to 0.12 MB for each when it trains
# (`bench/memory.py --only tuning`). A longer pair is computed alone; of longer rows than half of it no activations are
# kept but computed again.
MICRO_BATCH_TOKENS = 2048
EVALUATION_ROWS = 32
KL_WEIGHT = 0.02
_SEEDING = threading.Lock()  # torch's default generator belongs to the process


class TrainingSettings(BaseModel):
    """A model's settings in addition to the service's hyperparameters; `student.json` in its directory may set each.

    `learning_rate` is the peak at multiplier 1, held for `hold_share` of the steps; `alpha_per_rank` times the rank is
    LoRA's alpha.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: float = 5e-4
    alpha_per_rank: float = 2.0
    batch_size: int = 16
    warmup_share: float = 0.05
    hold_share: float = 0.6
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    max_tokens: int = 2048


def with_adapter(model: Any, spec: TuningSpec, settings: TrainingSettings) -> Any:
    """The model with a trainable adapter on all linear layers: a new one, or the initial adapter."""
    from peft import LoraConfig, PeftModel, get_peft_model

    if spec.initial_adapter is not None:
        return PeftModel.from_pretrained(model, str(spec.initial_adapter), is_trainable=True)
    config = LoraConfig(
        r=spec.adapter_size,
        lora_alpha=round(settings.alpha_per_rank * spec.adapter_size),
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    with _SEEDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        return get_peft_model(model, config)


def _padded(rows: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids and targets (-100: no loss), both (rows, length); a causal model needs no mask.

    The model reads all but the last column. Its length is rounded up because the framework caches compiled code for
    each length: without rounding a job took 200 MB more memory, and each further job tens of MB.
    """
    length = _padded_length(max(len(row.ids) for row in rows)) + 1
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    targets = torch.full((len(rows), length), -100)
    for i, row in enumerate(rows):
        row_ids = torch.tensor(row.ids)
        ids[i, : len(row_ids)] = row_ids
        targets[i, : len(row_ids)] = torch.where(torch.tensor(row.answer), row_ids, -100)
    return ids, targets


class LoraRun:
    """The model and optimizer of one job; subclasses define the loss and the service's names of its metrics."""

    train_loss: str
    share: str  # of correct predictions

    def __init__(self, model: Any, spec: TuningSpec, settings: TrainingSettings) -> None:
        self.model = with_adapter(model, spec, settings)
        self.spec = spec
        self.settings = settings
        self.causal = self.model.base_model.model
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=0.0, betas=(0.9, 0.99), weight_decay=settings.weight_decay, fused=True
        )

    def answer_logits(self, rows: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(logits, targets, row index) of all answer tokens of the rows, flat; logits in float32."""
        ids, targets = _padded(rows)
        has_loss = targets[:, 1:] != -100
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16_is_fast()):
            hidden = self.causal.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state[has_loss]
            logits = self.causal.lm_head(hidden)
        return logits.float(), targets[:, 1:][has_loss], has_loss.nonzero()[:, 0]

    def set_rate(self, step: int, total: int) -> None:
        """Linear warm-up, hold, linear decay to 2 % of the peak; a short job is better with a long hold."""
        settings, progress = self.settings, (step - 1) / total
        warmup = min(1.0, step / max(1.0, settings.warmup_share * total))
        decay = max(0.02, min(1.0, (1 - progress) / (1 - settings.hold_share)))
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * self.spec.learning_rate_multiplier * warmup * decay

    def step(self) -> None:
        """One optimizer step by the gradients so far; gradients that are not finite leave the weights unchanged."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        if torch.isfinite(norm):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def update(self, rows: Sequence[Any]) -> dict[str, float]:
        """Train on one batch; its metrics. Gradients add up over micro-batches, so the batch size costs no memory."""
        total, correct, count = 0.0, 0, sum(map(_predictions, rows))
        for part in micro_batches(rows):
            if max(map(_length, part)) > MICRO_BATCH_TOKENS // 2:
                self.causal.activation_checkpointing_enable()
            loss, part_correct = self.loss(part)
            share = sum(map(_predictions, part)) / count
            (loss * share).backward()  # type: ignore[no-untyped-call]
            total, correct = total + loss.item() * share, correct + part_correct
            self.causal.activation_checkpointing_disable()
        self.step()
        return self.metrics(total, correct, count, "train")

    def loss(self, rows: Sequence[Any]) -> tuple[torch.Tensor, int]:
        """(mean loss, correct predictions) of a batch."""
        raise NotImplementedError

    def metrics(self, loss: float, correct: int, count: int, split: str) -> dict[str, float]:
        """One point of a curve under the service's names; `split` is train or eval."""
        return {
            self.train_loss if split == "train" else "/eval_total_loss": loss,
            f"/{split}_{self.share}": correct / count,
            f"/{split}_num_predictions": float(count),
        }

    def evaluate(self, rows: Sequence[Any]) -> dict[str, float]:
        """Metrics over validation rows, weighted by predictions; empty without rows."""
        if not rows:
            return {}
        self.model.eval()
        total, correct, count = 0.0, 0, 0
        ordered = sorted(rows, key=_length)
        with torch.no_grad():
            for part in micro_batches(ordered, EVALUATION_ROWS):
                (loss, part_correct), part_count = self.loss(part), sum(map(_predictions, part))
                total, correct, count = total + loss.item() * part_count, correct + part_correct, count + part_count
        self.model.train()
        return self.metrics(total / count, correct, count, "eval")


class SupervisedRun(LoraRun):
    """Cross entropy on answer tokens."""

    train_loss, share = "/train_total_loss", "fraction_of_correct_next_step_preds"

    def loss(self, rows: Sequence[Encoded]) -> tuple[torch.Tensor, int]:
        """See `LoraRun`; predictions are answer tokens."""
        logits, targets, _ = self.answer_logits(rows)
        return functional.cross_entropy(logits, targets), int((logits.argmax(-1) == targets).sum())


class PreferenceRun(LoraRun):
    """DPO: raise the chosen answer over the rejected one, relative to the model before the job."""

    train_loss, share = "/preference_optimization_train_loss", "fraction_of_preferred"

    def __init__(self, model: Any, spec: TuningSpec, settings: TrainingSettings) -> None:
        super().__init__(model, spec, settings)
        self._reference_margins: dict[Pair, float] = {}

    def margins(self, pairs: Sequence[Pair]) -> torch.Tensor:
        """Log-probability of the chosen answer less that of the rejected one, per pair."""
        rows = [chosen for chosen, _ in pairs] + [rejected for _, rejected in pairs]
        logits, targets, owner = self.answer_logits(rows)
        scores = torch.log_softmax(logits, -1).gather(1, targets[:, None])[:, 0]
        sums = torch.zeros(len(rows)).index_add(0, owner, scores)
        return sums[: len(pairs)] - sums[len(pairs) :]

    def compute_reference(self, pairs: Sequence[Pair]) -> None:
        """Store the margins of the model before the first step."""
        self.model.eval()
        ordered = sorted(set(pairs), key=_length)
        with torch.no_grad():
            for batch in micro_batches(ordered, EVALUATION_ROWS):
                self._reference_margins.update(zip(batch, self.margins(batch).tolist(), strict=True))
        self.model.train()

    def loss(self, rows: Sequence[Pair]) -> tuple[torch.Tensor, int]:
        """See `LoraRun`; a pair is correct when its margin has grown."""
        gain = self.margins(rows) - torch.tensor([self._reference_margins[row] for row in rows])
        return -functional.logsigmoid(self.spec.beta * gain).mean(), int((gain > 0).sum())


class ReinforcementRun(LoraRun):
    """Rewards of sampled answers are raised; rows are prompts.

    At each step the model answers every prompt of a batch several times. An answer's advantage is its reward less the
    mean of its prompt's answers, over their standard deviation, so a prompt whose answers all have the same reward
    teaches nothing. One optimizer step is taken on each batch, so the policy gradient needs no importance weights. The
    penalty is the estimate k3 (Schulman, 2020) of the Kullback-Leibler divergence from the model before the job. Equal
    answers of a prompt are read once, and a batch is split so that memory does not grow with the number of samples.
    """

    def __init__(
        self, model: Any, spec: TuningSpec, settings: TrainingSettings, encoder: ChatEncoder, reward: Reward
    ) -> None:
        super().__init__(model, spec, settings)
        self._encoder, self._reward = encoder, reward
        self._steps = 0
        self._has_moved = False
        if spec.initial_adapter is not None:
            self.model.load_adapter(str(spec.initial_adapter), "start")

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
        self.model.set_adapter("start")
        try:
            yield
        finally:
            self.model.set_adapter("default")


def _length(row: Encoded | Pair) -> int:
    return len(row.ids) if isinstance(row, Encoded) else max(len(side.ids) for side in row)


def _predictions(row: Encoded | Pair) -> int:
    """A pair is one; the first token of a row is not predicted."""
    return sum(row.answer[1:]) if isinstance(row, Encoded) else 1


def _padded_length(tokens: int) -> int:
    return math.ceil((tokens - 1) / LENGTH_MULTIPLE) * LENGTH_MULTIPLE


def micro_batches(rows: Sequence[Any], limit: int = sys.maxsize) -> Iterator[Sequence[Any]]:
    """Parts of a batch of at most `limit` rows and `MICRO_BATCH_TOKENS` padded tokens; by length if it is split."""
    part: list[Any] = []
    ordered = rows if len(rows) <= limit and _tokens(rows) <= MICRO_BATCH_TOKENS else sorted(rows, key=_length)
    for row in ordered:
        if part and (len(part) == limit or _tokens([*part, row]) > MICRO_BATCH_TOKENS):
            yield part
            part = []
        part.append(row)
    yield part


def _tokens(rows: Sequence[Encoded | Pair]) -> int:
    """Padded tokens; those of a pair count twice, because its answers, which are predicted, are most of both sides."""
    weight = 1 if isinstance(rows[0], Encoded) else 4
    return weight * len(rows) * _padded_length(max(map(_length, rows)))


def bf16_is_fast() -> bool:
    """Whether the processor multiplies matrices of bfloat16 (AMX).

    With the older instructions alone (avx512_bf16), a step of training takes 1.8 times as long as in float32.
    """
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))


def _batches(rows: int, batch_size: int, seed: int) -> Iterator[list[int]]:
    """Row numbers of each batch, without end; every epoch has its own order of all rows."""
    rng = random.Random(seed)
    while True:
        order = list(range(rows))
        rng.shuffle(order)
        for start in range(0, rows, batch_size):
            yield order[start : start + batch_size]


def train(
    run: LoraRun, train: Sequence[Any], validation: Sequence[Any], task: TuningTask, base: str
) -> list[Checkpoint]:
    """Train to the end with the task's callbacks; raises `Cancelled` before the step after a stop.

    `train` and `validation` are the encoded rows, `base` is the fingerprint saved with checkpoints.
    """
    steps = schedule(task.train, task.spec, run.settings.batch_size)
    if isinstance(run, PreferenceRun):
        run.compute_reference([*train, *validation])
    batches = _batches(len(train), steps.batch_size, task.spec.seed)
    run.model.train()

    def step(number: int, evaluate: bool) -> dict[str, float]:
        run.set_rate(number, steps.total)
        values = run.update([train[i] for i in next(batches)])
        return values | run.evaluate(validation) if evaluate else values

    def save(path: Path, _: int) -> None:
        run.model.save_pretrained(path)
        write_fingerprint(path, base)

    return follow(task, steps, step, save)
