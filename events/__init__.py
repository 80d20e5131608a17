"""What happened: the event log and the timelines read from it. Knows nothing of relay."""
