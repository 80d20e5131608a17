"""A domain's own SPF record, read and explained."""
