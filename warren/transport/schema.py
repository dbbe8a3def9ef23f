"""schema/warren.capnp, loaded: in a wheel it is in the package, in a checkout beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import capnp as _capnp  # pyright: ignore[reportMissingTypeStubs]

capnp: Any = _capnp
"""pycapnp, which has no types."""


def schema_path() -> Path:
    """The schema's file."""
    package = Path(__file__).parent.parent
    places = [top / "schema" / "warren.capnp" for top in (package, package.parent)]
    return next(place for place in places if place.is_file())


wire: Any = capnp.load(str(schema_path()))
"""The module with every struct and interface of the schema."""
