"""Targets: where the two settings are written."""
