"""Sources: where credentials come from."""
