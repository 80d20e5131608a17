"""REST of domains, SMTP users and API keys."""
