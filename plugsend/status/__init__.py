"""Whether the platform works: probes, incidents, the public status page, and what operators see of it."""
