"""``docker-credential-ecr-login``: logins for ECR on demand, by docker's helper protocol."""
