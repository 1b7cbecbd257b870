"""Private-registry credentials for the Amazon ECS agent, correct and fresh."""

__version__ = "0.1.0"
