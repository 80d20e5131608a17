"""Counts of what became of mail: rolled up from the event log, for the page Statistics, for REST and for alerts."""
