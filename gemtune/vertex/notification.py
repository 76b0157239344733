# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Notifications: a JSON message with a `text`, posted to a webhook."""

from gemtune.config.pipeline import Notify
from gemtune.vertex import Client, storage
from gemtune.vertex.calls import TransientError

TIMEOUT_S, MAX_URL = 30, 4096


def send(client: Client, notify: Notify, text: str) -> bool:
    """Whether there is a webhook, to which the text is then posted. Errors do not name its URL, which is a secret."""
    import requests

    if not (webhook := notify.webhook):
        return False
    # an object holds the URL, so that no pipeline's specification does
    url = storage.head(client, webhook, MAX_URL).decode().strip() if webhook.startswith("gs://") else webhook
    try:
        requests.post(url, json={"text": text}, timeout=TIMEOUT_S).raise_for_status()
    except requests.RequestException as error:
        raise TransientError(f"notify.webhook: {type(error).__name__}") from None
    return True
