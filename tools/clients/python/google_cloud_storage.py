# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
# /// script
# dependencies = ["google-cloud-storage"]
# ///
"""google-cloud-storage: everything is in the environment."""

from google.cloud import storage


def _bucket(s):
    return storage.Client(project=s.project).bucket(s.bucket)


def upload(s):
    _bucket(s).blob(s.uploaded).upload_from_string(s.content)


def download(s):
    return _bucket(s).blob(s.stored).download_as_bytes()


def list_(s):
    return [blob.name for blob in _bucket(s).list_blobs()]
