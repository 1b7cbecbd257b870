"""This machine: files, locks, trust, signals, programs."""
