"""The ECR token cache of docker-credential-ecr-login; a hit needs only `answers`."""
