"""Files to install on a host: systemd units, docker configuration, archives."""
