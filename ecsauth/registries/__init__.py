"""Log in to registries as docker does."""
