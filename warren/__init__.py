"""Warren keeps services alive: tasks under probes, restarted when they fail."""

__version__ = "0.1.0"
