"""What happens to files, objects and exit codes when a host fails in the middle of a command."""
