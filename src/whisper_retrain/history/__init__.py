"""What was decided and done before, kept in S3: cases, looks at test sets, retrainings."""
