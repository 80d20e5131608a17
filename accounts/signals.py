"""What other floors may want to know of organizations. Sent in the transaction of what it tells of."""

from django.dispatch import Signal

# organization_id: UUID. Its queue is to be held, or not any more: a suspension or a deletion begins or ends.
mail_hold_changed = Signal()
