"""What members see of messages: the list, a message's page and story, the mail itself, shared timelines."""
