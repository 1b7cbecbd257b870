"""Pure value types: registries, credentials, login files and their freshness."""
