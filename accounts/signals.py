"""What other floors may want to know of organizations. Sent in the transaction of what it tells of."""

from django.dispatch import Signal

# organization_id: UUID. Its deletion was asked for, or undone.
deletion_changed = Signal()
