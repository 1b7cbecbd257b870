"""Use cases, one file each: what a command does, not how it is typed or printed."""
