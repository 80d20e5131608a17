"""What operators see and do in the Django admin, beside each model's own page in `relay.admin`."""
