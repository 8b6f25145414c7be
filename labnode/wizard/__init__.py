"""Tools to wire a board and to write its file; nothing here runs in a node."""
