"""The disk: the supervisor's journal, and the lock on its data directory."""
