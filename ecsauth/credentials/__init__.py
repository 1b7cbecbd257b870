"""Values, pure: registries, credentials, login files, and how fresh they are."""
