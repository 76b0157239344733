# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""fsspec's tests for file systems with gcsfs; docs/reference/clients.md has the command."""

import fsspec.tests.abstract
import gcsfs
import pytest

BUCKET = "fsspec-tests"


class Fixtures(fsspec.tests.abstract.AbstractFixtures):
    @pytest.fixture
    def fs(self):
        files = gcsfs.GCSFileSystem(project="demo-project")
        if not files.exists(BUCKET):
            files.mkdir(BUCKET)
        return files

    @pytest.fixture
    def fs_path(self):
        return BUCKET

    @pytest.fixture
    def supports_empty_directories(self):
        return False


for name, kind in vars(fsspec.tests.abstract).items():
    if name.startswith("Abstract") and name.endswith("Tests"):
        globals()[f"Test{name}"] = type(f"Test{name}", (kind, Fixtures), {})
