"""The Prefect task layer: adapts the engine to Prefect, one file a concern. Knows no order of steps."""
