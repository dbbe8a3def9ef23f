"""Decides which tasks there are and where they run: pure; the cluster in, a plan out."""
