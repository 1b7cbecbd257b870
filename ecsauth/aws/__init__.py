"""The only room that imports boto3: sessions, errors mapped once, ECR tokens, objects in S3."""
