"""The ECS agent of this host: what it runs with, and how it is restarted."""
