"""Watching ourselves: what is not well with this node or manager, and loops that do not end."""
