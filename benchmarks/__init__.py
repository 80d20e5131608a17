"""PlugSend measured beside other mail servers on one machine. Start with README.md."""
