"""What is remembered between runs: no secret, and nothing that cannot be lost."""
