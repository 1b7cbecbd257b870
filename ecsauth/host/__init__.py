"""The machine that ecsauth runs on: files, locks, trust, signals, programs."""
