"""One file a command: its options, its request, the call, the rendering."""
