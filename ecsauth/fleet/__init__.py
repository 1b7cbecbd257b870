"""The same command on many instances, through SSM."""
