"""Whisper's English text normalizer, pinned: the versioned function applied to both sides.

Knows nothing of models or counts. The text rules are OpenAI's (Radford et al. 2022, appendix C)
as packaged by `whisper_normalizer`, the one that `medwer` scores with too. Known trap: "oh" and
"o" become the number 0, so "oh no" and "zero no" count as equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache

NORMALIZER_VERSION = "whisper-english-0.1.12/1"
"""Bump whenever `normalize` gives another text for any input; it is part of every report."""

_BLANKS = re.compile(r"\s+")


@lru_cache(maxsize=65_536)
def normalize(text: str) -> str:
    """The form in which words are compared; "" when nothing but noise marks is left."""
    return _BLANKS.sub(" ", _english()(text)).strip()


@cache
def _english() -> Callable[[str], str]:
    """The rules and their table of spellings, built when the first text needs them."""
    from whisper_normalizer.english import EnglishTextNormalizer

    rules: Callable[[str], str] = EnglishTextNormalizer()
    return rules
