# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m gemtune` is the command `gemtune`."""

from gemtune.cli.main import app

if __name__ == "__main__":
    app(prog_name="gemtune")
