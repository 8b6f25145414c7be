"""What install.sh hands over to: the standard library alone, because nothing else is there yet."""
