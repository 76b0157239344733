# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Hooks of the documentation site (mkdocs.yml)."""

import posixpath
import re
from typing import Any


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The page with its heading first, which is its title, and links to files outside `docs/` to the repository."""
    markdown = re.sub(r"\A(<!--[^>]*-->\n)+", "", markdown)

    def absolute(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.file.src_uri), match[1]))
        return match[0] if path.startswith("docs/") else f"]({config.repo_url}/blob/main/{path}{match[2] or ''})"

    return re.sub(r"\]\((\.\./[^)#]+)(#[^)]*)?\)", absolute, markdown)
