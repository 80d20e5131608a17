"""What DNS is asked about sending domains, and how. Nothing here judges."""
