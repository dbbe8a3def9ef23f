"""One nursery per task: its instances one after another, their probes, and the restarts."""
