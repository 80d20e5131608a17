"""The mail path: the two doors, accept, the queue, delivery."""
