"""Checks of a loaded tokenizer: it knows words, its ids fit the table, its output is bounded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from vitrina.embedder.untrusted import is_panic
from vitrina.errors import EncoderError
from vitrina.store.damage import reason_of

PROBE_WORDS = (
    "a b c d e f g h i j k l m n o p q r s t u v w x y z",
    "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z",
    "а б в г д е ж з и й к л м н о п р с т у ф х ц ч ш щ ъ ы ь э ю я",
    "0 1 2 3 4 5 6 7 8 9",
    "the red cup is white",
    "кружка белая чай платье",
)
MOST_GROWTH = 64
"""Maximum factor by which a tokenizer's replacements may lengthen a text."""


def check_tokenizer(tokenizer: Any, rows: int, texts: tuple[str, ...], what: str) -> None:
    """Check a fast tokenizer of transformers.

    rows: of the model's word embedding. texts: realistic probes. what: names the tokenizer in
    messages.

    Raises EncoderError if it maps all probes to unknown tokens, gives ids beyond the embedding, or
    lengthens texts excessively.
    """
    # The core's unknown token may be missing from the special tokens.
    special = {tokenizer.unk_token_id, *tokenizer.all_special_ids}
    check_core(tokenizer.backend_tokenizer, rows, texts, what, special=special)
    check_token(tokenizer.pad_token_id or 0, rows, what)


def token_ids(
    core: Any, texts: Sequence[str], rows: int, what: str, *, special: bool = True
) -> list[list[int]]:
    """Tokenise texts by a tokenizer of the tokenizers library.

    rows: of the model's word embedding. what: names the tokenizer in messages. special: add the
    tokens that its post-processor adds. Raises EncoderError for a token without a row, and if the
    tokenizer fails.
    """
    try:
        encoded = core.encode_batch_fast(list(texts), add_special_tokens=special)
    except BaseException as err:
        if not isinstance(err, Exception) and not is_panic(err):
            raise
        raise EncoderError(f"{what}: its tokenizer fails: {reason_of(err)}") from err
    lists = [one.ids for one in encoded]
    check_token(max((max(ids) for ids in lists if ids), default=0), rows, what)
    return lists


def check_core(
    core: Any, rows: int, texts: tuple[str, ...], what: str, *, special: set[int | None]
) -> None:
    """Check a tokenizer of the tokenizers library, as `check_tokenizer` does. special: tokens that
    are no words, beside the core's unknown token."""
    if _growth(core) > MOST_GROWTH:
        raise EncoderError(
            f"{what}: its tokenizer.json makes texts over {MOST_GROWTH} times as long; use a "
            "tokenizer that was made for the model"
        )
    # In a vocabulary with gaps, ids beyond the table are found when a text has them: listing a
    # large vocabulary takes a tenth of a second.
    highest, known = core.get_vocab_size(with_added_tokens=True) - 1, set[int]()
    skipped = {*special, unknown_token(core)}
    for one in core.encode_batch((*PROBE_WORDS, *texts)):
        highest = max(highest, *one.ids, 0)
        known |= set(one.ids) - skipped
    check_token(highest, rows, what)
    if not known:
        raise EncoderError(
            f"{what}: its tokenizer has no word and no letter of the usual alphabets, so "
            "all products would be the same; copy the tokenizer that was made for the model"
        )


def unknown_token(core: Any) -> int | None:
    """The core's token for unknown words, None without one."""
    # By name, or by id in a Unigram model.
    name = getattr(core.model, "unk_token", None)
    if name:
        found: int | None = core.token_to_id(name)
        return found
    return getattr(core.model, "unk_id", None)


def check_token(highest: int, rows: int, what: str) -> None:
    """Raise EncoderError for a token id without a row in the model's word embedding."""
    if highest >= rows:
        raise EncoderError(
            f"{what}: its tokenizer gives token {highest}, and the model's table has {rows} rows; "
            "use the tokenizer that was made for the model"
        )


def _growth(core: Any) -> float:
    """Factor by which a text may grow: by replacements, and by templates that repeat the text."""
    growth = 1.0
    for part in _parts(core.normalizer):
        if part.get("type") == "Replace":
            pattern = part.get("pattern", {}).get("String")
            # A regular expression may match the empty string between any two letters.
            shortest = len(pattern) if pattern else 0.5
            growth *= max(1.0, len(part.get("content", "")) / shortest)
        elif part.get("type") == "Prepend":
            growth += len(part.get("prepend", "")) / 1000
    for part in _parts(core.pre_tokenizer):
        replacement = str(part.get("replacement", ""))
        growth *= max(1, len(replacement))
    for part in _parts(core.post_processor):
        repeated = [one for one in part.get("single", ()) if "Sequence" in one]
        growth *= max(1, len(repeated))
    return growth


def _parts(component: Any) -> Iterator[dict[str, Any]]:
    if component is None:
        return
    todo = [json.loads(component.__getstate__())]
    while todo:
        part = todo.pop()
        yield part
        for key in ("normalizers", "pretokenizers", "processors"):
            todo += part.get(key, ())
