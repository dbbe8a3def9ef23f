"""Process trees: spawn into a context, watch the end, kill all of it, reap. Nothing is left."""
