"""The ECS agent on this host: what it says of itself and how its container was started."""

SYSTEMD, UPSTART, DOCKER = "systemd", "upstart", "docker"
MANAGERS = (SYSTEMD, UPSTART, DOCKER)
"""What may start it."""

DEFAULT_URL = "http://localhost:51678"
"""Where it answers."""
