"""S3, the Hub, experiment tracking, the clock: a small Protocol and its real part each."""
