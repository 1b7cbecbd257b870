"""Runs one command on many instances, through SSM."""
