"""The two settings, pure: read as the agent reads them, and written for all of their readers."""
