"""Erasing an organization for good: `plan.py` says what of it stands where, `work.py` takes it away."""
