"""What other floors may want to know of a domain, sent inside the transaction in which it happens."""

from django.dispatch import Signal

domain_lost = Signal()  # `domain_id`, `reason` (of events.reasons): no mail may leave as this domain any more
