"""``docker-credential-ecr-login``: logins for ECR on demand, in docker's helper protocol."""
