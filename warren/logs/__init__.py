"""The output of tasks, in files: appended by the programs, rotated, indexed by time, watched."""
