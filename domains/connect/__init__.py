"""Domain Connect: DNS hosts that add the records by themselves."""
