"""What the evidence from DNS means, in words. No I/O."""
