"""Webhooks: events of the log, sent to the organization's own systems by HTTP."""
