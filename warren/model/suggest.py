"""The known word that an unknown one most likely stands for."""

from __future__ import annotations

from collections.abc import Iterable

_LIKENESS = 0.65  # of 1; `bogus` does not match `user`, `replica` matches `replicas`


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word closest to this one, leading dashes ignored; None where none is close."""
    from difflib import get_close_matches  # seldom wanted, and it takes time

    by_name = {one.lstrip("-"): one for one in known}
    found = get_close_matches(word[:100].lstrip("-"), by_name, n=1, cutoff=_LIKENESS)
    return by_name[found[0]] if found else None


def no_such_field(name: str, known: Iterable[str]) -> str:
    """`no such field; did you mean command? want one of ...`."""
    fields = [*known]
    meant = nearest(name, fields)
    hint = f"did you mean {meant}? " if meant else ""
    return f"no such field; {hint}want one of {', '.join(fields)}"
