"""The two settings: read as the agent reads them, written for every reader. No I/O."""
