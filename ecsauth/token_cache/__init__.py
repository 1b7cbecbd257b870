"""The ECR token cache of docker-credential-ecr-login: a hit needs nothing but this room."""
