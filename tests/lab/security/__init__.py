"""What hostile input, hostile neighbours on the host and a hostile caller get: nothing."""
