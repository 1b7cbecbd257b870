"""Results in words, as JSON, and on a screen. Nothing here changes anything."""
