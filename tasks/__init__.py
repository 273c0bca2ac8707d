"""One Prefect task per retryable effect."""
