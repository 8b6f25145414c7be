"""What a board file becomes."""
