"""The central server's protocol."""
