"""Addresses that are not mailed any more: the list, its pages and imports, soft bounces, unsubscribing."""
