#!/bin/bash
# User data of the host on which GitLab Runner runs (its instance profile: ECR read, such as
# AmazonEC2ContainerRegistryReadOnly). Write in the package. Runner and Docker themselves are installed as you like.
set -eu
package=${ECSAUTH_PACKAGE:-https://example.com/ecsauth-0.1.0-py3-none-any.whl}

python3 -m venv /opt/ecsauth
/opt/ecsauth/bin/pip install --quiet --disable-pip-version-check "$package"
# For the runner's own process, which runs as root with HOME=/root, and for docker on the host:
HOME=/root /opt/ecsauth/bin/ecsauth install helper \
    123456789012.dkr.ecr.us-west-2.amazonaws.com public.ecr.aws
mkdir -p /etc/gitlab-runner
cp /root/.docker/config.json /etc/gitlab-runner/job-config.json
