"""The composition root: the concrete parts of a supervisor and a manager."""
