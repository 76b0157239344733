# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
# /// script
# dependencies = ["gcsfs"]
# ///
"""gcsfs: everything is in the environment; without GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false it waits for gRPC."""

import gcsfs


def _files(s):
    return gcsfs.GCSFileSystem(project=s.project)


def upload(s):
    with _files(s).open(f"{s.bucket}/{s.uploaded}", "wb") as file:
        file.write(s.content)


def download(s):
    return _files(s).cat(f"{s.bucket}/{s.stored}")


def list_(s):
    return [path.removeprefix(s.bucket + "/") for path in _files(s).find(s.bucket)]
