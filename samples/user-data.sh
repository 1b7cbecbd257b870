#!/bin/bash
# EC2 user data for an ECS container instance whose credentials are published in S3.
# Write in these three: the package (what pip installs, such as the URL of a wheel of your own), the
# object, the cluster. samples/cluster.yaml does it by itself.
set -eu
package=https://example.com/ecsauth-0.1.0-py3-none-any.whl
object=s3://BUCKET/ecs.config
cluster=my-cluster

# The cluster, before anything else: >> keeps what is there.
grep -qs '^ECS_CLUSTER=' /etc/ecs/ecs.config || echo "ECS_CLUSTER=$cluster" >>/etc/ecs/ecs.config

# An image made by samples/bake-ami.sh has it already; then nothing is downloaded.
if [ ! -x /opt/ecsauth/bin/ecsauth ]; then
    python3 -m venv /opt/ecsauth
    /opt/ecsauth/bin/pip install --quiet --disable-pip-version-check "$package"
fi

mkdir -p /etc/ecsauth
cat >/etc/ecsauth/ecsauth.env <<SETTINGS
ECSAUTH_SOURCES=$object
SETTINGS
chmod 600 /etc/ecsauth/ecsauth.env

# Now, so that the first start of the agent, which follows user data, has the credentials; a failure
# here must not keep the instance from joining the cluster: the timer tries again.
# No "systemctl restart ecs" here: ecs.service waits for the end of this script, and so each would
# wait for the other.
/opt/ecsauth/bin/ecsauth pull "$object" || true
/opt/ecsauth/bin/ecsauth install units
