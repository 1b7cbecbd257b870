"""The host that ecsauth runs on: files, locks, trust, signals, programs."""
