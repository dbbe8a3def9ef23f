"""Options common to many commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from warren.wiring.data_dir import default_data_dir, given_data_dir

SOCKET = "warren.sock"
SERVICE_FILE = Path("warren.yaml")
SWITCH = Parameter(negative=(), show_default=False)
_WHERE = Group("Where the manager is", sort_key=90)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Where:
    """Where the manager is.

    Parameters
    ----------
    addr
        unix:PATH or tcp:HOST:PORT [default: the socket in the data directory].
    data_dir
        The manager's directory [default: /var/lib/warren for root, else ~/.local/share/warren].
    """

    addr: Annotated[str | None, Parameter(env_var="WARREN_ADDR", group=_WHERE)] = None
    data_dir: Annotated[
        Path | None,
        Parameter(env_var="WARREN_DATA_DIR", group=_WHERE, metavar="DIR", converter=given_data_dir),
    ] = None

    @property
    def directory(self) -> Path:
        """The manager's data directory. Raises WarrenError where there is none."""
        if self.data_dir is not None:
            return self.data_dir
        return default_data_dir()

    @property
    def address(self) -> str:
        """As `--addr` writes it."""
        return self.addr or f"unix:{self.directory / SOCKET}"


AsJson = Annotated[
    bool, Parameter(name="--json", negative=(), show_default=False, help="Print JSON.")
]
