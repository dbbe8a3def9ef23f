"""Details: text for people, bounded and harmless to a terminal whatever the service wrote."""

from __future__ import annotations

import codecs
import re

from warren.model.check import DETAIL_LIMIT

# C0 without tab and newline, DEL, C1, and what reorders or breaks lines; surrogates do not encode.
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def bounded(text: str, limit: int = DETAIL_LIMIT) -> str:
    """The text without control characters, its first `limit` bytes cut between characters."""
    safe = _HARMFUL.sub(_REPLACEMENT, text.replace("\r\n", "\n"))
    return safe.encode()[:limit].decode(errors="ignore")


def one_line(text: str, limit: int) -> str:
    """As `bounded`, on one line: for a phrase inside a sentence."""
    return bounded(" ".join(text.split()), limit)


def decode_output(output: bytes, limit: int = DETAIL_LIMIT) -> str:
    """A command's output as text: invalid bytes replaced, a character cut at `limit` left out."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return bounded(decoder.decode(output[:limit], final=len(output) < limit).strip(), limit)
