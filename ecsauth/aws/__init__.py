"""The only package that imports boto3: sessions, mapped errors, ECR tokens, objects in S3."""
