"""The scripted node of tests/nursery, here under a supervisor."""

from tests.nursery.conftest import world

__all__ = ["world"]
