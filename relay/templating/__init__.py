"""Customers' mail templates: the language, HTML made fit for mail, and the process apart in which both are at work."""
