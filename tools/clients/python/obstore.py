# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
# /// script
# dependencies = ["obstore"]
# ///
"""obstore (object_store): address and `skip_signature`; it reads no credentials file of the type external_account."""

import os

from obstore.store import GCSStore

os.environ.pop("GOOGLE_APPLICATION_CREDENTIALS")


def _store(s):
    return GCSStore(s.bucket, config={"base_url": s.url, "skip_signature": True}, client_options={"allow_http": True})


def upload(s):
    _store(s).put(s.uploaded, s.content)


def download(s):
    return bytes(_store(s).get(s.stored).bytes())


def list_(s):
    return [item["path"] for item in _store(s).list().collect()]
