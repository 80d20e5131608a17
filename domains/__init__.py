"""Sending domains, their DNS records, verification, DKIM keys, SMTP users."""
