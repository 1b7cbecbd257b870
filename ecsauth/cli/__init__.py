"""The command line: parsing and output."""
