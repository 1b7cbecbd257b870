"""The ECS agent on this host: what it says of itself and how its container was started."""
