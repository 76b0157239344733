# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Make the embedded base from nothing: `python -m tools.pretrain_student --out DIR`.

Trains the tokenizer on the generated corpus, then the model; `--show N` prints N episodes instead. The weights depend
on the seed, the recipe and the versions of torch and transformers.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def show(count: int, seed: int) -> None:
    """Print episodes of the finished curriculum, answers in double brackets."""
    from tools.pretrain_student.episodes import EpisodeWriter

    source = EpisodeWriter(seed)
    source.easy, source.difficulty = 0.1, 1.0
    for _ in range(count):
        print("".join(text if weight < 0.3 else f"[[{text}]]" for text, weight in source.draw()), end="\n\n")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.pretrain_student", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/base"), help="directory for weights and tokenizer")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--tokens", type=int, default=14_000_000, help="training budget, in tokens")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print N episodes and stop")
    arguments = parser.parse_args()
    if arguments.show:
        show(arguments.show, arguments.seed)
        return
    from tools.pretrain_student.tokenizer import train_tokenizer
    from tools.pretrain_student.train import Recipe, pretrain

    arguments.out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(arguments.seed, arguments.out)
    recipe = Recipe(seed=arguments.seed, tokens=arguments.tokens, threads=arguments.threads)
    pretrain(recipe, tokenizer, arguments.out)


if __name__ == "__main__":
    main()
