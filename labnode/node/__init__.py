"""The composition of a node: all the rooms below, put together, started and stopped."""
