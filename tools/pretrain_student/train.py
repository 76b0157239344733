# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pretraining of the embedded base: an Lfm2 hybrid (short convolutions and attention in turn) on generated episodes.

Matrices learn by Muon, the rest by AdamW; the loss is weighted by the episodes' weights and computed only where a
weight is. The curriculum goes from dense, easy, short episodes to hard, long ones with the share of the budget spent.
The budget is in tokens, so that a seed gives the same batches on any machine; see Lfm2 (Liquid AI, 2025) for the
architecture and Muon (Jordan et al., 2024) for the optimizer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.nn import functional
from transformers import Lfm2Config, Lfm2ForCausalLM, PreTrainedTokenizerFast

from tools.pretrain_student.episodes import EpisodeWriter

Sample = tuple[list[int], list[float]]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything the weights depend on apart from the code. Lengths and batches are in tokens."""

    seed: int = 2026
    tokens: int = 14_000_000
    width: int = 128
    layers: str = "cacaca"
    feed_forward: int = 384
    early_batch_tokens: int = 2048
    batch_tokens: int = 4096
    late_batch_tokens: int = 8192
    max_length: int = 768
    matrix_rate: float = 2e-3
    vector_rate: float = 3e-3
    easy_until: float = 0.5
    hard_from: float = 0.04
    hard_until: float = 0.4
    small_until: float = 0.25
    decay_from: float = 0.6
    warmup_steps: int = 60
    text_share: float = 0.15
    threads: int = 1


def scatter(embeddings: torch.Tensor, seed: int) -> int:
    """Make the embeddings of tokens that do not occur in the corpus distinct, in place; returns how many there are.

    Every step pushes the never-seen tokens of a tied embedding the same way, until they are parallel and no adapter on
    the layers can tell them apart: a label made of one could not be learnt. Rows (tokens x width) that have ten near
    parallels (cosine above 0.95) get a random vector of half the median length added: what they have in common keeps
    the untuned base from saying them.
    """
    units = torch.nn.functional.normalize(embeddings.float(), dim=1)
    collapsed = ((units @ units.T > 0.95).sum(dim=1) > 10).nonzero()[:, 0]
    fresh = torch.randn(len(collapsed), embeddings.shape[1], generator=torch.Generator().manual_seed(seed))
    length = embeddings.float().norm(dim=1).median()
    embeddings[collapsed] += (torch.nn.functional.normalize(fresh, dim=1) * length / 2).to(embeddings.dtype)
    return len(collapsed)


def build(recipe: Recipe, vocabulary: int) -> Lfm2ForCausalLM:
    """A model with fresh weights."""
    torch.manual_seed(recipe.seed)
    heads = recipe.width // 32
    config = Lfm2Config(
        vocab_size=vocabulary,
        hidden_size=recipe.width,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=len(recipe.layers),
        num_attention_heads=heads,
        num_key_value_heads=heads,
        layer_types=["conv" if kind == "c" else "full_attention" for kind in recipe.layers],
        conv_L_cache=4,
        block_auto_adjust_ff_dim=False,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return Lfm2ForCausalLM(config)


def encode(tokenizer: PreTrainedTokenizerFast, episodes: list[list[tuple[str, float]]]) -> list[Sample]:
    """Token ids with a weight each; the first token of an answer, which decides it, counts double."""
    pieces = tokenizer([text for episode in episodes for text, _ in episode], add_special_tokens=False).input_ids
    samples, position = [], 0
    for episode in episodes:
        ids, weights = [1], [0.0]
        for _, weight in episode:
            piece = pieces[position]
            position += 1
            ids += piece
            weights += [2 * weight if weight >= 0.99 and i == 0 else weight for i in range(len(piece))]
        samples.append((ids, weights))
    return samples


def batches(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, progress: Progress) -> Iterator[list[Sample]]:
    """Batches of samples of similar length, drawn according to the progress of the curriculum."""
    source = EpisodeWriter(recipe.seed + 1)
    while True:
        done = progress.share
        source.difficulty = min(1.0, max(0.0, (done - recipe.hard_from) / (recipe.hard_until - recipe.hard_from)))
        source.easy = max(0.10, 1.0 - done / recipe.easy_until)
        longest = 256 if done < 0.15 else 448 if done < 0.4 else recipe.max_length
        size = recipe.early_batch_tokens if done < recipe.small_until else recipe.batch_tokens
        if done >= recipe.decay_from:
            size = recipe.late_batch_tokens
        samples = [s for s in encode(tokenizer, [source.draw() for _ in range(2500)]) if len(s[0]) <= longest]
        samples.sort(key=lambda sample: len(sample[0]))
        chunks: list[list[Sample]] = [[]]
        for sample in samples:
            if chunks[-1] and (len(chunks[-1]) + 1) * len(sample[0]) > size:
                chunks.append([])
            chunks[-1].append(sample)
        source.rng.shuffle(chunks)
        yield from chunks


@dataclass
class Progress:
    """The tokens and steps so far."""

    budget: int
    tokens: int = 0
    steps: int = 0

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.tokens / self.budget


def loss_of(model: Lfm2ForCausalLM, batch: list[Sample], text_share: float) -> tuple[torch.Tensor, int, int, int]:
    """Weighted loss; of ordinary text only a share of the positions is computed, with a higher weight.

    Also returns the tokens of the batch, the answers' first tokens predicted correctly, and their number.
    """
    length = max(len(ids) for ids, _ in batch)
    ids = torch.tensor([x + [0] * (length - len(x)) for x, _ in batch])
    weights = torch.tensor([x + [0.0] * (length - len(x)) for _, x in batch])[:, 1:]
    text = (weights > 0) & (weights < 0.2)
    chosen = (weights >= 0.2) | (text & (torch.rand(weights.shape) < text_share))
    weights = torch.where(text, weights / text_share, weights)[chosen]
    targets = ids[:, 1:][chosen]
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state[chosen]
        logits = model.lm_head(hidden)
    losses = functional.cross_entropy(logits.float(), targets, reduction="none")
    first = weights >= 1.99
    correct = int((logits[first].argmax(-1) == targets[first]).sum())
    return (losses * weights).sum() / weights.sum(), sum(len(x) for x, _ in batch), correct, int(first.sum())


def optimizers(model: Lfm2ForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings, norms and convolutions."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    matrix_ids = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in matrix_ids]
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=recipe.vector_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def rate(recipe: Recipe, progress: Progress) -> float:
    """Warm up, hold, decay to 2 %."""
    warm = min(1.0, (progress.steps + 1) / recipe.warmup_steps)
    done = progress.share
    return warm * (1.0 if done < recipe.decay_from else max(0.02, (1 - done) / (1 - recipe.decay_from)))


STUDENT = {"learning_rate": 0.0025, "alpha_per_rank": 2.0, "batch_size": 8}  # the best settings of LoRA on this base


def save(model: Lfm2ForCausalLM, out: Path) -> None:
    """Write the weights as fp16 and the tuning settings into the tokenizer's directory."""
    half = {name: tensor.half() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}  # tied
    model.save_pretrained(out, state_dict=half)
    config = json.loads((out / "config.json").read_text())
    config["dtype"] = "float16"
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (out / "student.json").write_text(json.dumps(STUDENT) + "\n")


def pretrain(
    recipe: Recipe, tokenizer: PreTrainedTokenizerFast, out: Path, save_minutes: float = 4.0
) -> Lfm2ForCausalLM:
    """Run the whole recipe; a log line and a checkpoint every few minutes, `train.json` at the end."""
    torch.set_num_threads(recipe.threads)
    model = build(recipe, len(tokenizer))
    progress = Progress(recipe.tokens)
    source = batches(recipe, tokenizer, progress)
    steppers = optimizers(model, recipe)
    rates = [group["lr"] for stepper in steppers for group in stepper.param_groups]
    model.train()
    started = saved = time.monotonic()
    total, correct, answers, history = 0.0, 0, 0, []
    while progress.share < 1:
        scale = rate(recipe, progress)
        for group, peak in zip((g for stepper in steppers for g in stepper.param_groups), rates, strict=True):
            group["lr"] = peak * scale
        loss, tokens, hits, tries = loss_of(model, next(source), recipe.text_share)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad(set_to_none=True)
        progress.tokens += tokens
        progress.steps += 1
        total, correct, answers = total + loss.item(), correct + hits, answers + tries
        if progress.steps % 50 == 0:
            now = time.monotonic()
            history.append(
                {"tokens": progress.tokens, "loss": total / 50, "first_token_accuracy": correct / max(1, answers)}
            )
            minutes, millions = (now - started) / 60, progress.tokens / 1e6
            print(
                f"{minutes:5.1f} min  {millions:6.2f} M tokens  {progress.tokens / (now - started):6.0f}/s"
                f"  loss {total / 50:.3f}  answers' first token {correct / max(1, answers):.3f}",
                flush=True,
            )
            total, correct, answers = 0.0, 0, 0
            if now - saved > 60 * save_minutes:
                saved = now
                save(model, out)
    scatter(model.get_input_embeddings().weight.data, recipe.seed)
    save(model, out)
    seconds = round(time.monotonic() - started)
    (out / "train.json").write_text(
        json.dumps({"recipe": asdict(recipe), "seconds": seconds, "history": history}, indent=1)
    )
    return model
