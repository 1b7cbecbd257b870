"""Results as text, as JSON, and on a screen. Nothing here changes anything."""
