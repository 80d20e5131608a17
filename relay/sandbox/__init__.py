"""A loopback internet for first runs, demos and tests: a DNS server and a mail exchanger with scripted behaviour."""
