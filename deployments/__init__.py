"""What prefect.yaml cannot say: limits, blocks, automations, parameter sets."""
