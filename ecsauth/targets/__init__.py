"""Where the two settings go."""
