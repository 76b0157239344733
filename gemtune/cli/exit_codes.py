# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Exit codes of `gemtune`: one table for the commands, their help and docs/reference/exit-codes.md."""

EXIT_CODES = {
    0: "done; verdict `deploy`; no reason against tuning; `monitor`: nothing to do",
    1: "error, or problems that the command lists",
    2: "wrong usage of a command or an option",
    3: "decided against deploying (any other verdict); `plan`: do not tune; `monitor`: retrain",
    4: "verdict `not_enough_data`, or too few rows for a run; `monitor`: cannot tell",
    5: "over budget: a run may cost more than `plan.max_cost` on every path",
    130: "interrupted",
}
AGAINST, NOT_ENOUGH_DATA, OVER_BUDGET, INTERRUPTED = 3, 4, 5, 130
HELP = "\n".join(["[bold]Exit codes[/]", *(f"{code}: {meaning}" for code, meaning in EXIT_CODES.items())])


def of_verdict(verdict: str) -> int:
    """The exit code of a run, or of monitoring, that ended with this verdict."""
    done = verdict in ("deploy", "settling", "fine", "watch")
    return 0 if done else NOT_ENOUGH_DATA if verdict in ("not_enough_data", "cannot_tell") else AGAINST
