"""Settings of a text encoder beyond its model: the prompt before every text, and the dimension."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vitrina.errors import EncoderError

QUERY_NAMES = ("query", "search_query")
"""Names that models give to the prompt of a search query, the most common first."""
DOCUMENT_NAMES = ("document", "passage", "corpus", "search_document")
"""Names that models give to the prompt of what is searched."""

PROMPT, DIM = "prompt", "truncate_dim"
"""Keys of the settings in the details of an encoder's card."""

LONGEST_PROMPT = 4096
"""Maximum characters of a prompt."""


@dataclass(frozen=True)
class TextSettings:
    """Settings that the user may give for a text model.

    prompt: text before every product's text, or the name of one of the model's prompts; None for
    the model's default, "" for none. dim: number of leading components to keep; None for the
    model's own.
    """

    prompt: str | None = None
    dim: int | None = None

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> TextSettings:
        """The settings that an encoder's card remembers."""
        details = card.get("details")
        details = details if isinstance(details, dict) else {}
        prompt, dim = details.get(PROMPT), details.get(DIM)
        return cls(
            prompt if isinstance(prompt, str) and len(prompt) <= LONGEST_PROMPT else None,
            dim if type(dim) is int and dim > 0 else None,
        )

    def or_those_of(self, remembered: TextSettings) -> TextSettings:
        """These settings, with remembered ones in place of those not given."""
        return TextSettings(
            remembered.prompt if self.prompt is None else self.prompt,
            remembered.dim if self.dim is None else self.dim,
        )

    @property
    def key(self) -> str:
        """The settings as text; empty for the defaults."""
        return "" if self == TextSettings() else f"{self.prompt!r} {self.dim}"


@dataclass(frozen=True)
class Prompts:
    """Prompts of a model. named: text by name. default: the one before every text, None if the
    model has none."""

    named: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None

    def of_documents(self, wanted: str | None, what: str) -> str:
        """The prompt before a product's text. wanted: as `TextSettings.prompt`. what: names the
        model in messages. Raises EncoderError if it is too long."""
        own = self.default or ""
        prompt = own if wanted is None else self.named.get(wanted, wanted)
        if len(prompt) > LONGEST_PROMPT:
            raise EncoderError(
                f"{what}: a prompt of {len(prompt)} characters is above {LONGEST_PROMPT}; "
                "give a shorter one"
            )
        return prompt

    def of_queries(self, document: str) -> str:
        """The prompt before a search query, for products with the prompt `document`.

        It is another one only if the model pairs both: if its prompt for documents is `document`.
        """
        query = next((self.named[name] for name in QUERY_NAMES if name in self.named), None)
        if query is None or len(query) > LONGEST_PROMPT:
            return document
        others = [self.named[name] for name in DOCUMENT_NAMES if name in self.named]
        paired = document in others if others else not document
        return query if paired else document
