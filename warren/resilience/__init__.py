"""What keeps Warren's own programs running: loops that do not end, conditions, turns, limits."""
