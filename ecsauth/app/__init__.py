"""Use cases, one file each: what a command does, without how it is typed and printed."""
