"""Pure decisions: values and `now` in, values out. Nothing here waits, logs or reads a clock."""
