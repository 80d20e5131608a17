"""Why a recipient was deferred or bounced: a small set of reasons, each with a title and advice in plain words.

`relay.delivery.replies` finds the reason behind a reply; docs/retries-and-reasons.md shows them all to customers.
"""

from dataclasses import dataclass
from typing import Literal

# What else of ours would get the same answer: mail to this address or its domain, this message or others of its
# sender, or all our mail to this receiver.
Scope = Literal["address", "message", "receiver"]


@dataclass(frozen=True, slots=True)
class Reason:
    """`hard`: a permanent refusal for this reason says that the address itself is dead, so it is suppressed.

    `scope` is told of reasons that a reply can give; the others are not about mail to come. `clause`: the title as a sentence,
    where it is none.
    """

    code: str
    title: str
    advice: str
    scope: Scope = "receiver"
    hard: bool = False
    clause: str = ""

    @property
    def because(self) -> str:
        """What may follow “because”."""
        if self.clause:
            return self.clause
        is_name = self.title[1].isupper()  # DNS
        return self.title if is_name else self.title[0].lower() + self.title[1:]


_REASONS = [
    # ---- The address
    Reason("no_such_address", "The address does not exist",
           "Check the spelling. Remove the address from your lists: mailing it again harms your reputation.",
           "address", hard=True),
    Reason("mailbox_disabled", "The mailbox is disabled",
           "The receiver has switched this mailbox off. Ask the person for another address.", "address", hard=True),
    Reason("mailbox_moved", "The mailbox has moved",
           "The person has left this address. The reply may name the new one; ask before you use it.", "address"),
    Reason("mailbox_full", "The mailbox is full",
           "Only its owner can make room. A mailbox that stays full is probably abandoned.", "address"),
    Reason("mailbox_busy", "The mailbox gets more mail than it may",
           "The receiver limits how much mail one mailbox takes in a time. Send this person fewer messages at once.",
           "address"),
    Reason("recipient_restricted", "The recipient takes mail from chosen senders only",
           "A group or mailbox that is closed to outsiders. Ask its owner to allow your address.", "address"),
    Reason("message_too_large", "The message is too large for the receiver",
           "Send a link in place of the attachment, or make it smaller.", "message"),
    # ---- The domain and the way to it
    Reason("no_such_domain", "The domain does not exist",
           "Check the spelling of the part after the @.", "address", hard=True),
    Reason("no_mail_for_domain", "The domain takes no mail",
           "Its owner published a null MX or no mail exchanger at all. Ask the person for another address.",
           "address", hard=True),
    Reason("relay_denied", "The exchanger does not serve this domain",
           "The domain's MX record names a server that takes no mail for it. Its owner must mend one of the two.",
           "address"),
    Reason("mail_loop", "The mail goes in circles",
           "The receiver's servers or a forwarding address pass the message round and round. Tell the recipient.",
           "address"),
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
    Reason("tls_required_by_receiver", "The receiver asks for encryption",
           "It takes mail over TLS only, and TLS could not be agreed on. Write to support if it stays."),
    # ---- How much
    Reason("greylisted", "The receiver asked us to come back later",
           "Greylisting: common for a first mail. PlugSend tries again soon; nothing to do.", "message"),
    Reason("rate_limited", "The receiver limits our rate",
           "PlugSend slows down for this receiver. Spread large mailings over time."),
    Reason("sender_limited", "The receiver limits mail from your domain",
           "It met complaints or a sudden volume from your sending domain. Send less for a while, and only to people "
           "who asked for it.", "message"),
    Reason("exchanger_busy", "The receiver's server is busy",
           "It is overloaded, out of resources, or has as many connections as it allows. PlugSend slows down for it."),
    Reason("too_many_recipients", "Too many recipients at once for the receiver",
           "The receiver takes fewer recipients in a time than it was given. Spread the mailing over time.",
           clause="the receiver was given too many recipients at once"),
    # ---- Trust
    Reason("authentication_failed", "The receiver could not verify that the mail is from your domain",
           "SPF, DKIM or DMARC did not pass. Open your domain's page: it shows which DNS record is missing or "
           "different.", "message"),
    Reason("sender_rejected", "The sender's address is refused",
           "The receiver does not accept this sender or its domain. Check that the address exists and that its domain "
           "has an MX record.", "message"),
    Reason("ip_listed", "Our server's IP address is on a block list",
           "Nothing in your message: PlugSend's operators ask for removal. Write to support if it stays."),
    Reason("our_name_rejected", "Our server's name is refused",
           "The receiver is not content with the reverse DNS or EHLO name of the sending server. Write to support."),
    Reason("domain_listed", "A domain in the message is on a block list",
           "It may be your sending domain or that of a link. Look it up at Spamhaus, SURBL and URIBL, and ask for "
           "removal.", "message"),
    Reason("policy", "Refused by the receiver's policy",
           "Read the reply: it often names the rule. Check that SPF, DKIM and DMARC of your domain are found.",
           clause="the receiver's policy refused it"),
    # ---- The message
    Reason("spam_suspected", "Taken for spam",
           "Review the content and your list; check your domain's DNS records on its page.", "message",
           clause="the receiver took it for spam"),
    Reason("virus_suspected", "Taken for malware",
           "Scan your attachments and links; your application may have been misused.", "message",
           clause="the receiver took it for malware"),
    Reason("content_rejected", "The content is not allowed",
           "The receiver forbids something in the message, often a type of attachment. Send a link in its place.",
           "message"),
    Reason("message_malformed", "The receiver finds the message malformed",
           "The reply names the rule, often of RFC 5322: a header that is doubled, missing or not well formed.",
           "message"),
    Reason("no_smtputf8", "The receiver cannot take internationalized addresses",
           "The address holds non-ASCII characters and the receiving server does not support them (RFC 6531).",
           "address"),
    # ---- The rest
    Reason("temporary_failure", "A temporary failure at the receiver",
           "PlugSend tries again by itself; nothing to do.",
           clause="the receiver failed for the moment"),
    Reason("permanent_failure", "Refused for good",
           "Read the receiver's reply for the cause.",
           clause="the receiver refused it for good"),
    Reason("protocol_error", "The receiver's server misbehaved",
           "It answered in a way that SMTP does not allow. PlugSend tries again."),
    Reason("outcome_unknown", "The outcome is not known",
           "The connection or our process ended after the message was sent and before the answer came. It may have been "
           "delivered; PlugSend tries again, so it may arrive twice.", "message"),
    Reason("expired", "Given up after the retry period",
           "The receiver kept deferring until the time limit. Read the last reply; send again when it is mended.",
           "message",
           clause="its retry period was over"),
    Reason("suppressed", "The address is on your suppression list",
           "Nothing was sent. Remove the address from the list if its owner wants your mail again.", "address"),
    Reason("sender_gone", "The sending domain was removed",
           "It was removed before the message could be delivered, and nobody can sign for it any more.", "message"),
    Reason("domain_taken_over", "The sending domain was taken over",
           "Another organization has proved that the domain is its own, so nothing is sent in its name for you any more. "
           "If it is yours, publish the records that its page shows now.", "message"),
    Reason("organization_being_deleted", "The organization is being deleted",
           "Its mail waits. It goes out if an owner undoes the deletion, and is erased with everything else if nobody does; "
           "what comes to the end of its retry period before that ends as expired.", "message"),
    Reason("organization_suspended", "The organization is suspended",
           "Its mail waits, and its retry period stands still. It goes out when sending is resumed; the reason stands on top "
           "of the organization's pages. Write to support.", "message"),
    Reason("organization_on_hold", "The organization is held until somebody has looked",
           "Many of its mails bounced or were reported as spam. Its mail waits, and its retry period stands still; it goes out "
           "when an operator has found all in order. Write to support, and say what you have mended.", "message"),
    Reason("cannot_sign", "Our own error while preparing the message",
           "The DKIM signature could not be made. PlugSend tries again; write to support if it stays.",
           clause="we failed to prepare the message"),
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


def suppresses(reason: str) -> bool:
    """Whether a permanent refusal for this reason makes a suppression: the address is dead. Policy never is a cause."""
    return reason in REASONS and REASONS[reason].hard
