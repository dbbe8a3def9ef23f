"""Live output on a terminal: the table of `warren up`, and the progress of a wait."""
