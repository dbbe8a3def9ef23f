"""The options of commands, and what they mean."""
