"""What is put in place on a host: systemd units, docker's configuration, archives."""
