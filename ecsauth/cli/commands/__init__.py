"""One file per command: its options, its request, the call, the rendering."""
