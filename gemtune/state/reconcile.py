# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Make registry and endpoints what the champion's record says: deployment, default checkpoint, request-response
logging, alias.

The record (`state.champion`) alone decides; everything else is derived from it and may be derived again at any time, so
what a killed run left half done is completed by the next command on the same name.
"""

from gemtune.config import ModelVariant
from gemtune.errors import UserError
from gemtune.state import champion, request_logging
from gemtune.vertex import Client, models

ROUNDS = 10


def reconcile(client: Client, name: str) -> ModelVariant | None:
    """Derive everything from the record of a name; returns its champion, None when there is none.

    The record may change meanwhile (another run ends), then it is done again. Raises `UserError` when it never rests.
    """
    for _ in range(ROUNDS):
        record = champion.read(client, name)
        if not record.current:
            return None
        current = record.current.variant
        if current.is_tuned:
            serve(client, current)
            if record.alias not in models.aliases(client, current.tuned_model):
                models.set_alias(client, current.tuned_model, record.alias)
        request_logging.apply(client, record.logging, current.model)
        for left in {entry.variant.tuned_model for entry in record.entries} - {current.tuned_model, ""}:
            models.remove_alias(client, left, record.alias)
        if champion.read(client, name).generation == record.generation:
            return current
    raise UserError(f"the champion of {name!r} keeps changing", remedy="let other runs of this name end first")


def serve(client: Client, variant: ModelVariant) -> None:
    """Make sure that the checkpoint answers at its endpoint and is its model's default."""
    models.deploy(client, variant.model, variant.tuned_model, variant.checkpoint_id)
    default = models.default_checkpoint(client, variant.tuned_model) if variant.checkpoint_id else ""
    if default != variant.checkpoint_id:
        models.set_default_checkpoint(client, variant.tuned_model, variant.checkpoint_id)
