#!/bin/bash
# EC2 user data for an ECS container instance whose credentials are published in S3.
# Write in: the package (an archive of your own, or a version of ecsauth), the bucket, the cluster.
set -eu
package=${ECSAUTH_PACKAGE:-ecsauth}
object=${ECSAUTH_OBJECT:-s3://BUCKET/ecs.config}

# The cluster, before anything else: >> keeps what is there.
grep -qs '^ECS_CLUSTER=' /etc/ecs/ecs.config || echo ECS_CLUSTER=my-cluster >>/etc/ecs/ecs.config

python3 -m venv /opt/ecsauth
/opt/ecsauth/bin/pip install --quiet --disable-pip-version-check "$package"

mkdir -p /etc/ecsauth
cat >/etc/ecsauth/ecsauth.env <<SETTINGS
ECSAUTH_SOURCES=$object
SETTINGS
chmod 600 /etc/ecsauth/ecsauth.env

# Now, so that the first start of the agent, which follows user data, has the credentials; a failure
# here must not keep the instance from joining the cluster: the timer tries again.
/opt/ecsauth/bin/ecsauth pull "$object" || true
/opt/ecsauth/bin/ecsauth install units
