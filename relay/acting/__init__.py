"""What people do with mail in the queue: the acts, their pages, their words, what the audit log says of them."""
