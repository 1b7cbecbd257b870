"""Names and addresses of the ECS agent on this host."""

SYSTEMD, UPSTART, DOCKER = "systemd", "upstart", "docker"
MANAGERS = (SYSTEMD, UPSTART, DOCKER)
"""The service managers that may start it."""

DEFAULT_URL = "http://localhost:51678"
"""Address of its introspection API."""
