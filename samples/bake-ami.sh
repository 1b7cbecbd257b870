#!/bin/bash
# samples/bake-ami.sh PACKAGE: a step in the build of an image for ECS container instances (Packer,
# EC2 Image Builder), as root, on the ECS-optimized Amazon Linux 2023. PACKAGE is what pip installs.
#
# ecsauth and its units are in the image, enabled; no settings, no credentials, no state. User data of
# an instance then needs to write only the cluster and /etc/ecsauth/ecsauth.env: the units find it,
# and fetch the credentials before the agent starts. samples/user-data.sh works as well.
set -eu
package=${1:?usage: bake-ami.sh PACKAGE}

# What is of this instance would be on all of them.
if grep -qs '^ECS_ENGINE_AUTH_' /etc/ecs/ecs.config; then
    echo "bake-ami.sh: /etc/ecs/ecs.config has credentials: they would be in the image" >&2
    exit 1
fi
if [ -e /etc/ecsauth/ecsauth.env ]; then
    echo "bake-ami.sh: /etc/ecsauth/ecsauth.env is here: the timer would fetch credentials" >&2
    exit 1
fi

python3 -m venv /opt/ecsauth
/opt/ecsauth/bin/pip install --quiet --disable-pip-version-check --no-cache-dir "$package"
install -d -m 755 /etc/ecsauth
/opt/ecsauth/bin/ecsauth install units --quiet

# The timer runs on instances, not here.
systemctl stop ecsauth-refresh.timer
rm -rf /var/lib/ecsauth /var/lib/systemd/timers/stamp-ecsauth-refresh.timer

# The agent of the base image may have started; every instance would take itself for this one.
systemctl stop ecs 2>/dev/null || true
rm -rf /var/lib/ecs/data/* /var/log/ecs/*
