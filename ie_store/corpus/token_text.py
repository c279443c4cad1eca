"""The text of single tokens, as they read inside a text."""

from ie_store.corpus.rows import Tokenizer


def token_strings(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """The text of each token id.

    Some tokenizers drop the space that a token begins with where it stands alone. So each is read behind another token, whose
    own text is taken away again. Bytes that are a part of a character alone read as U+FFFD.
    """
    before = next((token for token in ids if tokenizer.decode([token]).strip().isalnum()), None)
    if before is None:
        return [tokenizer.decode([token]) for token in ids]
    text = tokenizer.decode([before])
    behind = [tokenizer.decode([before, token]) for token in ids]
    return [
        found.removeprefix(text) if found.startswith(text) else tokenizer.decode([token])
        for found, token in zip(behind, ids, strict=True)
    ]
