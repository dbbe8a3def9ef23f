"""How long a probe's attempts wait for a place to ask from (S10)."""

from __future__ import annotations

import trio


class PlaceWaits:
    """The waits of one probe, one at a time. Implements `Waiting`."""

    __slots__ = ("_longest", "_since")

    def __init__(self) -> None:
        self._since: float | None = None
        self._longest = 0.0

    def __repr__(self) -> str:
        return f"<PlaceWaits {self.present:.1f}s now, {self.longest:.1f}s at the longest>"

    @property
    def present(self) -> float:
        """Seconds that an attempt has waited by now; 0 where none waits."""
        return 0.0 if self._since is None else trio.current_time() - self._since

    @property
    def longest(self) -> float:
        """Seconds of the longest wait so far, the present one too."""
        return max(self._longest, self.present)

    def begin(self) -> None:
        self._since = trio.current_time()

    def end(self) -> None:
        self._longest, self._since = self.longest, None
