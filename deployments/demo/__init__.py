"""The demo: `make demo` and `make demo-next`, on the embedded stack, through the Prefect API."""
