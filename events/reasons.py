"""Why a recipient was deferred or bounced: a small set of reasons, each with a title and advice in plain words."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    code: str
    title: str
    advice: str


_REASONS = [
    Reason("no_such_address", "The address does not exist",
           "Check the spelling. Remove the address from your lists: mailing it again harms your reputation."),
    Reason("mailbox_disabled", "The mailbox is disabled",
           "The receiver has switched this mailbox off. Ask the person for another address."),
    Reason("mailbox_full", "The mailbox is full",
           "Nothing to do: PlugSend tries again for a while. If it stays full, the mailbox is probably abandoned."),
    Reason("message_too_large", "The message is too large for the receiver",
           "Send a link in place of the attachment, or make it smaller."),
    Reason("no_such_domain", "The domain does not exist",
           "Check the spelling of the part after the @."),
    Reason("no_mail_for_domain", "The domain takes no mail",
           "Its owner published a null MX or no mail exchanger at all. Ask the person for another address."),
    Reason("dns_failure", "DNS did not answer",
           "The name servers of the receiving domain failed. PlugSend tries again."),
    Reason("unreachable", "No exchanger could be reached",
           "The receiving servers refused or did not answer the connection. PlugSend tries again."),
    Reason("forbidden_address", "The exchanger's address is not a public one",
           "The receiving domain points to a private or special network address, where mail is never delivered."),
    Reason("connection_lost", "The connection broke",
           "The receiver hung up or fell silent before the message was handed over. PlugSend tries again."),
    Reason("tls_failure", "Encryption failed",
           "The receiver offered STARTTLS but the handshake failed. PlugSend tries again."),
    Reason("greylisted", "The receiver asked us to come back later",
           "Greylisting: common for a first mail. PlugSend tries again soon; nothing to do."),
    Reason("rate_limited", "The receiver limits our rate",
           "PlugSend slows down for this receiver and tries again."),
    Reason("policy", "Refused by the receiver's policy",
           "Read the reply: it often names the rule. Check that SPF, DKIM and DMARC of your domain are found."),
    Reason("spam_suspected", "Taken for spam",
           "Review the content and your list; check your domain's DNS records on its page."),
    Reason("temporary_failure", "A temporary failure at the receiver",
           "PlugSend tries again by itself; nothing to do."),
    Reason("permanent_failure", "Refused for good",
           "Read the receiver's reply for the cause."),
    Reason("protocol_error", "The receiver's server misbehaved",
           "It answered in a way that SMTP does not allow. PlugSend tries again."),
    Reason("no_smtputf8", "The receiver cannot take internationalized addresses",
           "The address holds non-ASCII characters and the receiving server does not support them (RFC 6531)."),
    Reason("outcome_unknown", "The outcome is not known",
           "The connection or our process ended after the message was sent and before the answer came. It may have been "
           "delivered; PlugSend tries again, so it may arrive twice."),
    Reason("expired", "Given up after the retry period",
           "The receiver kept deferring until the time limit. Read the last reply; send again when it is mended."),
    Reason("cannot_sign", "Our own error while preparing the message",
           "The DKIM signature could not be made. PlugSend tries again; write to support if it stays."),
    Reason("loops_to_us", "The mail would come back to us",
           "The receiving domain's MX records lead to PlugSend's own machine. Its owner must name another mail server."),
    Reason("tls_required", "No encrypted connection was to be had",
           "Encryption is required here, by your settings or by the receiving domain, and the receiver did not offer it. "
           "PlugSend tries again."),
    Reason("tls_not_verified", "The receiver's server could not be verified",
           "Your settings or the receiving domain ask for a verified server, and its certificate did not pass. "
           "PlugSend tries again; the receiver's postmaster can mend it."),
]  # fmt: skip

REASONS = {reason.code: reason for reason in _REASONS}
