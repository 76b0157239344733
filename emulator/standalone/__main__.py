# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m gemtune_emulator`."""

from . import main

if __name__ == "__main__":
    main()
