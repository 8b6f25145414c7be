"""`labnode prove`: what the documents promise, measured on the owner's own machine.

Two free pins are joined by a wire: a node drives the one, and this process, which is not the node,
watches the other.
"""
