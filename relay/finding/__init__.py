"""From what somebody asks to the messages that are meant: search, saved filters, exports."""
