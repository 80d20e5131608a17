"""The catalogue of refusals: every "no" that either door can say, once.

The SMTP door answers `<code> <enhanced> <refusal code>: <detail> <help page>`, the REST door a problem document
(RFC 9457); both are made from the same row. Codes are stable: customers' programs match on them.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Refusal:
    """One kind of refusal.

    `detail` is a format string over the values given to `Refused`; `name` is the member that Resend's SDKs expect.
    """

    code: str
    smtp: int  # RFC 5321, 4.2
    enhanced: str  # RFC 3463
    http: int
    title: str
    detail: str
    advice: str
    name: str = "validation_error"
    retry_after_s: int | None = None  # REST: when a repeat may fare better

    @property
    def help_url(self) -> str:
        return f"{settings.WEB_URL}/errors/{self.code}/"


_ROWS = [
    # ---- Who you are
    Refusal("authentication_required", 530, "5.7.0", 401, "Authentication required",
            "Sign in before you send.",
            "SMTP: STARTTLS first, then AUTH PLAIN or LOGIN with the SMTP user and its API key. "
            "REST: send the header `Authorization: Bearer <API key>`.", "missing_api_key"),
    Refusal("encryption_required", 538, "5.7.11", 403, "Encryption required",
            "Start TLS before you sign in: the password must not travel in the clear.",
            "Switch your client to STARTTLS (often called \"TLS\" or \"explicit TLS\").", "restricted_api_key"),
    Refusal("invalid_credentials", 535, "5.7.8", 401, "Wrong user name or API key",
            "The user name or the API key is wrong.",
            "The user name is the SMTP user's whole address; the password is its API key, which begins with ps_live_. "
            "Lost keys cannot be shown again: make a new one.", "invalid_api_key"),
    Refusal("api_key_revoked", 535, "5.7.8", 401, "API key revoked",
            "The API key “{name}” was revoked.",
            "Somebody in your organization revoked it; its page and the audit log tell who, when and why. It cannot be taken "
            "back: use another key, or make a new one.", "invalid_api_key"),
    Refusal("api_key_expired", 535, "5.7.8", 401, "API key expired",
            "The API key “{name}” expired on {moment}.",
            "It ended at the time that was set when it was made, or some time after it was replaced. Use the key that "
            "replaced it, or make a new one.", "invalid_api_key"),
    Refusal("insufficient_scope", 550, "5.7.1", 403, "The API key may not do this",
            "This API key lacks the scope \"{scope}\".",
            "Use a key with that scope, or create one under API keys.", "restricted_api_key"),
    Refusal("smtp_user_disabled", 525, "5.7.13", 403, "SMTP user disabled",
            "{address} is disabled: its keys are refused until it is enabled again.",
            "Somebody in your organization disabled it. Enable it on its page or by `POST /api/v1/smtp-users/<id>/enable`; "
            "the same keys work again.", "restricted_api_key"),
    Refusal("network_not_allowed", 550, "5.7.1", 403, "Not allowed from this network",
            "{subject} may not be used from your address, {client}.",
            "The page of the SMTP user or API key lists the networks that it may be used from. Add yours, or leave the list "
            "empty.",
            "restricted_api_key"),
    Refusal("organization_suspended", 550, "5.7.1", 403, "Organization suspended",
            "Sending is suspended for this organization: nothing is accepted.",
            "The reason was mailed to the owners and stands on the organization's pages. Write to support. What was accepted "
            "before waits, and goes out when sending is resumed.", "restricted_api_key"),
    Refusal("organization_on_hold", 451, "4.7.1", 403, "Organization held until somebody has looked",
            "Sending is held for this organization, because many of its mails bounced or were reported as spam.",
            "The figures were mailed to the owners and stand on the organization's pages. Operators look at it; write to "
            "support, and say what you have mended. SMTP clients that queue try again by themselves.", "restricted_api_key"),
    Refusal("organization_being_deleted", 550, "5.7.1", 403, "Organization being deleted",
            "This organization is being deleted: it sends nothing, and its keys open nothing.",
            "An owner can undo the deletion on the organization's pages until it is erased; then the same keys work again.",
            "restricted_api_key"),
    Refusal("login_paused", 454, "4.7.0", 429, "Too many wrong passwords",
            "Too many wrong passwords were given for this user name or from your address; sign in again later.",
            "Wait a quarter of an hour, and correct the password in whatever program keeps on trying.",
            "rate_limit_exceeded"),
    Refusal("smtp_user_limit_reached", 451, "4.7.1", 429, "Limit of the SMTP user reached",
            "{subject} may send {most} messages in each {period} (UTC); {used} are sent, and this is {wanted} more. "
            "The next {period} begins at {until}.",
            "Wait for the seconds in Retry-After; SMTP clients that queue try again by themselves. The limit is set on the "
            "SMTP user's page. Nothing of what was refused is counted, and a batch is taken whole or not at all.",
            "rate_limit_exceeded"),
    Refusal("quota_day_reached", 451, "4.7.1", 429, "Messages of the day are used up",
            "{subject} may send {most} messages in each day (UTC); {used} are sent, and this is {wanted} more. "
            "The next day begins at {until}.",
            "Wait for the seconds in Retry-After; SMTP clients that queue try again by themselves. The page Usage in Settings "
            "and `GET /api/v1/usage` tell what is used of your plan; write to support for a larger one. Nothing of what was "
            "refused is counted, and a batch is taken whole or not at all.", "daily_quota_exceeded"),
    Refusal("first_days_limit_reached", 451, "4.7.1", 429, "Messages of a new organization's day are used up",
            "{subject} is new and may send {most} messages in each day (UTC) for now; {used} are sent, and this is {wanted} "
            "more. The next day begins at {until}.",
            "The limit ends with the first days, or when an operator has looked at the organization; write to support if you "
            "need more at once. SMTP clients that queue try again by themselves.", "daily_quota_exceeded"),
    Refusal("quota_month_reached", 451, "4.7.1", 429, "Messages of the month are used up",
            "{subject} may send {most} messages in each month (UTC); {used} are sent, and this is {wanted} more. "
            "The next month begins at {until}.",
            "The page Usage in Settings and `GET /api/v1/usage` tell what is used of your plan; write to support for a larger "
            "one, or wait for the seconds in Retry-After. Nothing of what was refused is counted, and a batch is taken whole "
            "or not at all.", "monthly_quota_exceeded"),
    Refusal("rate_of_messages_exceeded", 451, "4.7.1", 429, "Too many messages at once",
            "Your organization's plan allows {most} messages a second.",
            "Wait for the seconds in Retry-After and go on more slowly; SMTP clients that queue try again by themselves.",
            "rate_limit_exceeded"),
    Refusal("authentication_unavailable", 454, "4.7.0", 503, "Sign-in temporarily unavailable",
            "The password could not be checked just now.",
            "Try again in a moment; nothing is wrong with the password.", "application_error"),
    # ---- Whose name you send in
    Refusal("sender_not_allowed", 550, "5.7.1", 403, "Sender not allowed for this credential",
            "{address} is not on {domain}, the only domain that this credential may send from.",
            "Send from an address on that domain, or use a credential of the other domain. "
            "Both the envelope sender and the header From are checked.", "invalid_from_address"),
    Refusal("sender_domain_unknown", 550, "5.7.1", 403, "Sending domain unknown",
            "{domain} is not one of your organization's sending domains.",
            "Add the domain under Domains and publish its DNS records.", "invalid_from_address"),
    Refusal("sender_domain_not_verified", 550, "5.7.1", 403, "Sending domain not verified",
            "{domain} is not verified yet.",
            "Open the domain's page: it shows which DNS record is missing or different.", "invalid_from_address"),
    Refusal("sender_subdomain_not_allowed", 550, "5.7.1", 403, "Sending from subdomains is not turned on",
            "{domain} lies below {parent}, for which sending from subdomains is not turned on.",
            "Turn it on at that domain's page, or add the subdomain as a sending domain of its own.", "invalid_from_address"),
    Refusal("sender_domain_stopped", 550, "5.7.1", 403, "Sending domain stopped: its records are gone",
            "{domain} was stopped because DNS records that it needs are missing or different: {missing}.",
            "Publish the records again as the domain's page shows them; sending goes on by itself once they are seen. "
            "`POST /api/v1/domains/<id>/verify` looks at once.", "invalid_from_address"),
    Refusal("sender_domain_taken_over", 550, "5.7.1", 403, "Sending domain taken over",
            "Another organization has proved that {domain} is its own.",
            "If it is yours, publish the records that the domain's page shows now: the value of the ownership record has "
            "changed. Whoever proves a domain last has it.", "invalid_from_address"),
    Refusal("invalid_sender", 553, "5.1.7", 422, "Sender address not valid",
            "{address} is not a valid sender address.",
            "Write it as name@yourdomain.com.", "invalid_from_address"),
    # ---- To whom
    Refusal("invalid_recipient", 553, "5.1.3", 422, "Recipient address not valid",
            "{address} is not a valid address.",
            "Write it as name@domain.com; check for spaces and missing parts."),
    Refusal("no_recipients", 554, "5.5.1", 422, "No recipients",
            "The message names no recipient.",
            "Give at least one address."),
    Refusal("too_many_recipients", 452, "4.5.3", 422, "Too many recipients",
            "A message may have {limit} recipients.",
            "Split the list over several messages. Your plan may allow fewer than the platform does: the page Usage in "
            "Settings tells."),
    Refusal("smtputf8_required", 553, "5.6.7", 422, "Address needs SMTPUTF8",
            "{address} is not ASCII and was not announced as UTF-8.",
            "Give the parameter SMTPUTF8 with MAIL (RFC 6531, 3.4), or write the address in ASCII."),
    # ---- What
    Refusal("message_too_large", 552, "5.3.4", 413, "Message too large",
            "The message has {octets} octets; {whose} is {limit}.",
            "Send a link in place of large attachments."),
    Refusal("missing_from_header", 550, "5.6.0", 422, "No From header",
            "The message has no From header.",
            "RFC 5322 (3.6) asks for exactly one From header; add it.", "missing_required_field"),
    Refusal("duplicate_header", 550, "5.6.0", 422, "Header given twice",
            "The header {header} stands in the message more than once.",
            "RFC 5322 (3.6) allows it once; remove the others."),
    Refusal("malformed_header", 550, "5.6.0", 422, "Header malformed",
            "The header cannot be read: {problem}.",
            "Each header line is `Name: value`; long ones are folded with a leading space."),
    Refusal("malformed_line_endings", 550, "5.6.11", 422, "Bare CR, LF or NUL",
            "The message holds {octet}.",
            "Lines end with CRLF (RFC 5321, 2.3.8). Use your language's SMTP library, which takes care of it."),
    Refusal("line_too_long", 550, "5.6.0", 422, "Line too long",
            "{where} holds a line of more than 998 octets.",
            "RFC 5322 (2.1.1) allows 998 octets in a line. Text is re-encoded for you where that changes nothing else; "
            "elsewhere use base64 or quoted-printable, and fold long header fields."),
    Refusal("header_too_large", 552, "5.3.4", 413, "Header too large",
            "The header has more than {limit}.",
            "Leave out header fields that your recipients do not need."),
    Refusal("mime_too_complex", 550, "5.6.0", 422, "Too many or too deeply nested MIME parts",
            "The message has more than {limit}.",
            "Attach fewer files, or pack them into one; do not nest forwarded messages endlessly."),
    Refusal("attachment_not_fetched", 554, "5.6.0", 422, "Attachment could not be fetched",
            "Attachment {number} (counted from 0) could not be fetched: {problem}.",
            "`path` is the final https:// address of a file that anybody may fetch, from a public host with a valid "
            "certificate, within seconds and without a redirect. Or send the file itself as `content`, in base64.",
            "invalid_attachment"),
    Refusal("malformed_json", 554, "5.6.0", 400, "Body is not valid JSON",
            "The request body is not valid JSON: {problem}.",
            "Send a JSON object with `Content-Type: application/json`."),
    Refusal("request_too_large", 552, "5.3.4", 413, "Request too large",
            "The body of the request is larger than {limit} octets.",
            "Send fewer or smaller attachments, or links in their place; split batches."),
    Refusal("validation_failed", 554, "5.6.0", 422, "Some fields are not valid",
            "{problem}",
            "The member `errors` names each field and what is wrong with it."),
    Refusal("malformed_option_header", 550, "5.6.0", 422, "X-PlugSend header not valid",
            "{header}: {problem}.",
            "See the documentation of the X-PlugSend headers."),
    Refusal("expiry_out_of_range", 550, "5.6.0", 422, "Expiry out of range",
            "The message is to expire {value}; at least 60 seconds and at most 72 hours (259200 seconds) after its "
            "submission, or after the time for which it is scheduled, are possible.",
            "Correct X-PlugSend-Expires, or leave it out: PlugSend then tries for 72 hours. Seconds are safer than a time, "
            "which depends on your clock."),
    Refusal("schedule_out_of_range", 550, "5.6.0", 422, "Time of sending out of range",
            "The message is to be sent at {value}; a time in the past, or more than 30 days ahead, is not possible.",
            "Correct the time, or leave it out to send at once. Mind the zone: 10:00 in Berlin is not 10:00Z. "
            "Up to a minute in the past counts as now."),
    Refusal("mail_loop", 554, "5.4.6", 422, "Mail loop",
            "The message goes in circles: it has {problem}.",
            "Look at its Received fields: a forwarding rule sends what PlugSend delivers back to PlugSend. Break the "
            "circle there."),
    # ---- Templates
    Refusal("template_unknown", 554, "5.5.4", 422, "Template unknown",
            "There is no template {template}.",
            "Give the template's id or alias; it must belong to the organization of your API key."),
    Refusal("template_not_published", 554, "5.5.4", 422, "Template not published",
            "The template {template} has no published version yet.",
            "Publish it: `POST /api/v1/templates/<id>/publish`."),
    Refusal("template_variables_invalid", 554, "5.6.0", 422, "Variables do not fit the template",
            "Template {template}: {problem}.",
            "Give each variable that has no fallback value, with the type that the template declares."),
    Refusal("template_not_renderable", 554, "5.6.0", 422, "Template cannot be filled in",
            "Template {template}, version {version}: {problem}.",
            "`POST /api/v1/templates/<id>/render` shows what comes of your variables."),
    Refusal("template_too_costly", 554, "5.6.0", 422, "Template takes too much time or memory",
            "{template} takes more than {seconds} s of computing or too much memory.",
            "Use shorter lists, fewer nested loops and simpler style sheets."),
    Refusal("template_invalid", 554, "5.6.0", 422, "Template not valid",
            "{problem}",
            "The member `errors` names each part with line and column. The language is Liquid; see the documentation of "
            "templates."),
    Refusal("template_exists", 554, "5.5.4", 409, "Template name or alias taken",
            "There is another template with the {what} {value}.",
            "Choose another, or change that template."),
    Refusal("template_changed_meanwhile", 554, "5.5.4", 409, "Template changed meanwhile",
            "The template {template} was changed by someone else since you opened it.",
            "Look at what is there now, then save again: nothing of theirs was overwritten."),
    Refusal("too_many_template_versions", 554, "5.5.4", 422, "Too many versions of a template",
            "A template can have {limit} versions.",
            "Duplicate the template and go on with the copy."),
    Refusal("template_body_expected", 550, "5.6.0", 422, "Message cannot take a template's body",
            "The message is {kind}; beside X-PlugSend-Template it is text or multipart/alternative, or has no body.",
            "The template's body takes the place of the message's own, and attachments would be lost. Leave them out, or "
            "send without the template."),
    # ---- Never twice
    Refusal("invalid_idempotent_request", 554, "5.5.4", 409, "Idempotency key used for something else",
            "The idempotency key {key} was used in the last 24 hours for something else.",
            "Use a new key for each message and each request; repeat a key only to send the same again.",
            "invalid_idempotent_request"),
    Refusal("concurrent_idempotent_requests", 451, "4.5.0", 409, "The same idempotency key is in use right now",
            "Another request with the idempotency key {key} is being worked on at this moment.",
            "Repeat the request in a second, with the same key: it gets the first one's answer. SMTP clients do so by "
            "themselves.", "concurrent_idempotent_requests", retry_after_s=1),
    Refusal("invalid_idempotency_key", 554, "5.5.4", 400, "Idempotency key not valid",
            "The header Idempotency-Key has 1 to 256 visible ASCII characters and no spaces.",
            "Use a name of what is sent, as in order-42/receipt, or a random UUID that you keep for repeats.",
            "invalid_idempotency_key"),
    # ---- Domains, SMTP users and keys
    Refusal("domain_empty", 554, "5.5.4", 422, "No domain given",
            "Type the domain that you want to send from, for example example.com.",
            "It is the part after the @ of the addresses you send from.", "missing_required_field"),
    Refusal("domain_is_url", 554, "5.5.4", 422, "A web address in place of a domain",
            "“{typed}” is a web address. Type the domain alone: {meant}.",
            "Leave out https:// and everything after the name."),
    Refusal("domain_is_address", 554, "5.5.4", 422, "An e-mail address in place of a domain",
            "“{typed}” is an e-mail address. Type what stands after the @: {meant}.",
            "The domain is added once; then you send from any address on it."),
    Refusal("domain_is_ip", 554, "5.5.4", 422, "An IP address in place of a domain",
            "“{typed}” is an IP address. Mail is sent from a domain: type its name, for example example.com.",
            "DNS records of the name prove that it is yours; an IP address has none."),
    Refusal("domain_invalid", 554, "5.5.4", 422, "Not a domain name",
            "“{typed}” is not a domain name: {problem}.",
            "Names are letters, digits and hyphens, in parts joined by dots. Letters of other scripts are fine."),
    Refusal("domain_too_long", 554, "5.5.4", 422, "Domain too long",
            "“{typed}” is too long: {problem}.",
            "DNS takes 253 characters (RFC 1035, 2.3.4), and the records' names are longer than the domain. "
            "Use a shorter domain."),
    Refusal("domain_single_label", 554, "5.5.4", 422, "Domain without an ending",
            "“{name}” has no ending. Type the whole domain, for example {name}.com.",
            "Names of machines in your own network are no domains that others could answer to."),
    Refusal("domain_public_suffix", 554, "5.5.4", 422, "An ending in place of a domain",
            "“{name}” is an ending under which anyone can register names, so it cannot be yours alone. "
            "Type your own domain, for example example.{name}.",
            "Which names are endings is written down at publicsuffix.org."),
    Refusal("domain_of_platform", 554, "5.7.1", 422, "The platform's own domain",
            "“{name}” belongs to this PlugSend installation itself. Type a domain of your own.",
            "Only the platform's own mail is sent from it."),
    Refusal("domain_already_added", 554, "5.5.4", 409, "Domain already added",
            "“{name}” is among your domains already. Open it from the list of domains.",
            "`GET /api/v1/domains` lists it with its id."),
    Refusal("quota_domains_reached", 554, "5.7.1", 403, "No more domains in this plan",
            "Your organization's plan allows {most} domains, and it has {used}.",
            "Remove a domain that you do not use, or write to support for a larger plan. Subdomains of a verified domain need "
            "no place of their own: turn on sending from subdomains at its page."),
    Refusal("quota_members_reached", 554, "5.7.1", 403, "No more members in this plan",
            "Your organization's plan allows {most} members, and it has {used}, open invitations included.",
            "Remove a member, revoke an invitation, or write to support for a larger plan."),
    Refusal("dkim_rotation_unverified", 554, "5.7.1", 409, "DKIM key of a domain that is not verified",
            "{name} is not verified, so its DKIM key signs nothing. Verify the domain first.",
            "A key that signs nothing needs no replacement. `POST /api/v1/domains/<id>/verify` looks at DNS again."),
    Refusal("dkim_rotation_under_way", 554, "5.5.4", 409, "DKIM key replaced a short while ago",
            "The former DKIM key {selector} retires on {date}, because mail that it signed may still be on its way. Then the "
            "next key is made, and can take over.",
            "`GET /api/v1/domains/<id>` lists the keys with their states under `dkim`."),
    Refusal("dkim_rotation_scheduled", 554, "5.5.4", 409, "DKIM rotation started by the schedule",
            "The DKIM key is older than the {days} days after which it is to be replaced. Change that or turn it off, "
            "and then withdraw the rotation.",
            "On the domain's page, or with `dkim_rotation_days` in `PATCH /api/v1/domains/<id>`."),
    Refusal("smtp_user_domain_not_verified", 554, "5.7.1", 409, "Domain of the SMTP user not verified",
            "“{name}” is not verified yet. Publish its DNS records first, then add SMTP users.",
            "The domain's page and `GET /api/v1/domains/<id>` show which record is missing or different."),
    Refusal("smtp_user_invalid", 554, "5.5.4", 422, "SMTP user name not valid",
            "“{typed}” is not a user name: {problem}.",
            "A user name is an address on your domain, such as admin@yourdomain.com."),
    Refusal("smtp_user_exists", 554, "5.5.4", 409, "SMTP user exists already",
            "There is an SMTP user {address} already. Choose another name, or replace that one's password.",
            "`GET /api/v1/smtp-users` lists it with its id; `POST /api/v1/smtp-users/<id>/password` gives a new password."),
    Refusal("smtp_user_name_taken", 554, "5.7.1", 409, "Name of the SMTP user given to another",
            "{address} cannot be enabled: another SMTP user has the name now.",
            "Disable or remove that one first, or go on with it."),
    Refusal("too_many_smtp_user_keys", 554, "5.5.4", 409, "Too many keys of an SMTP user",
            "{address} has {limit} keys, the most that are possible.",
            "Revoke those that are not used any more; the page of the SMTP user shows when each was used last."),
    Refusal("api_key_replaced", 554, "5.5.4", 409, "API key replaced already",
            "The API key “{name}” ({prefix}…) was replaced already.",
            "Rotate the key that replaced it: `replaced_by` in `GET /api/v1/api-keys/<id>` names it."),
    Refusal("network_invalid", 554, "5.5.4", 422, "Network not valid",
            "“{typed}” is not a network: {problem}.",
            "Write an address, as in 192.0.2.7, or a network in CIDR notation, as in 192.0.2.0/24 or 2001:db8::/32."),
    Refusal("audit_log_not_open", 550, "5.7.1", 403, "The audit log is not open to this API key",
            "The audit log is read with a key that a member made who may read it.",
            "An owner or admin makes a full key under API keys. Keys that programs make do not open it.", "restricted_api_key"),
    Refusal("key_restricted_to_domain", 550, "5.7.1", 403, "The API key is for one domain only",
            "This API key is for {domain} only, and this concerns {what}.",
            "Use a key that is not restricted to a domain.", "restricted_api_key"),
    # ---- Webhooks
    Refusal("webhook_url_invalid", 554, "5.5.4", 422, "Address of the webhook not valid",
            "Events cannot be sent to this address: {problem}.",
            "Give the whole address of your own program, as in https://example.com/webhooks. It must begin with https:// and "
            "be reachable from the Internet."),
    Refusal("too_many_webhooks", 554, "5.5.4", 409, "Too many webhooks",
            "Your organization has {limit} webhook endpoints, the most that are possible.",
            "Remove those that are not used any more; one endpoint can take events of all types and domains."),
    Refusal("webhook_not_enabled", 554, "5.5.1", 409, "The webhook is not enabled",
            "The webhook endpoint is {state}: nothing is sent to it.",
            "Enable it first, on its page or by `PATCH /api/v1/webhooks/<id>` with `{\"status\": \"enabled\"}`."),
    Refusal("webhook_nothing_to_replay", 554, "5.5.1", 409, "Nothing to send again",
            "No delivery that has ended matches.",
            "Choose a longer time, or other states and types; `GET /api/v1/webhooks/<id>/events` lists what there is."),
    Refusal("webhook_replay_too_large", 554, "5.5.4", 422, "Too much to send again at once",
            "More than {limit} deliveries match.",
            "Choose a shorter time, a state or a type, and go on from there."),
    Refusal("webhook_replay_under_way", 554, "5.5.1", 409, "Being sent again already",
            "Deliveries of this webhook endpoint are being sent again just now.",
            "Wait until that has come to its end; the endpoint's page shows it."),
    # ---- REST in general
    Refusal("bad_request", 554, "5.5.2", 400, "Request malformed",
            "The request cannot be understood: {problem}.",
            "Compare the request with the API reference; libraries for HTTP build it correctly."),
    Refusal("invalid_request_header", 554, "5.6.0", 422, "Request header not valid",
            "{header}: {problem}.",
            "See the API reference for the headers of this address."),
    Refusal("batch_too_large", 552, "5.3.4", 422, "Batch too large",
            "A batch may have {limit} together; this one has more.",
            "Split it over several requests, each with an idempotency key of its own."),
    Refusal("not_found", 550, "5.1.1", 404, "Not found",
            "There is no such {thing}.",
            "Check the id; it must belong to the organization of your API key.", "not_found"),
    Refusal("search_took_too_long", 451, "4.3.0", 422, "The search took too long",
            "The search was ended after {seconds} seconds: it went through too many emails.",
            "Give a time range with `since` and `until`, a recipient's whole address, or a state such as bounced."),
    Refusal("content_expired", 550, "5.1.1", 410, "The content is not kept any more",
            "The content of this email is not kept any more: its retention is over.",
            "What became of it is still told by `GET /api/v1/emails/<id>`.", "not_found"),
    Refusal("recipient_needed", 554, "5.5.4", 422, "Which recipient?",
            "The email has {count} recipients; a timeline is that of one of them.",
            "Give `recipient_id`; `GET /api/v1/emails/<id>/recipients` lists them."),
    Refusal("nothing_to_act_on", 554, "5.5.1", 409, "Nothing left to act on",
            "{action} applies to no recipient of this email: {states}.",
            "Only mail that waits in the queue can be retried, held or cancelled, only held mail released, and only mail "
            "that waits for its time rescheduled. "
            "`GET /api/v1/emails/<id>` shows the state of each recipient."),
    Refusal("being_delivered", 450, "4.5.0", 409, "Being delivered right now",
            "The email is being delivered at this moment; {action} did not touch it.",
            "Look at the email again in a minute: it is delivered then, or waits for its next try."),
    Refusal("method_not_allowed", 502, "5.5.1", 405, "Method not allowed",
            "{method} is not possible here.",
            "See the API reference for the methods of this address.", "method_not_allowed"),
    Refusal("unsupported_media_type", 554, "5.6.1", 415, "Media type not supported",
            "The media type {media_type} is not supported.",
            "Send `Content-Type: application/json`."),
    Refusal("not_acceptable", 554, "5.6.1", 406, "No acceptable form",
            "The answer is available as application/json only.",
            "Send `Accept: application/json` or leave the header out."),
    Refusal("rate_limited", 451, "4.7.1", 429, "Too many requests",
            "More than {rate} requests a second {whose}.",
            "Wait for the number of seconds in Retry-After, then try again. The header RateLimit-Remaining of each answer "
            "tells how many requests may follow at once. Up to 100 emails go into one request to `/api/v1/emails/batch`.",
            "rate_limit_exceeded"),
    # ---- SMTP sessions; 421 closes the connection
    Refusal("too_many_connections", 421, "4.7.0", 429, "Too many connections",
            "More than {limit} connections at a time from {whose}.",
            "Send several messages over one connection, and close those that you do not use.", "rate_limit_exceeded"),
    Refusal("too_many_messages", 421, "4.7.0", 429, "Too many messages over one connection",
            "{limit} messages were sent over this connection.",
            "Open a new connection; most clients do so by themselves.", "rate_limit_exceeded"),
    Refusal("too_many_bad_commands", 421, "4.7.0", 400, "Too many bad commands",
            "{limit} commands could not be understood or obeyed.",
            "Read the replies to the commands before this one."),
    Refusal("timed_out", 421, "4.4.2", 408, "Timed out",
            "Nothing was heard for too long, or a message took too long to arrive.",
            "Open a new connection. Close connections that you do not use."),
    Refusal("shutting_down", 421, "4.3.2", 503, "Restarting",
            "This server is being restarted.",
            "Connect again in a moment. SMTP clients do so by themselves.", "application_error"),
    # ---- Us
    Refusal("insufficient_storage", 452, "4.3.1", 503, "No space for the message",
            "There is no space for the message just now; nothing was accepted.",
            "Try again in a moment. SMTP clients do so by themselves.", "application_error"),
    Refusal("temporarily_unavailable", 451, "4.3.0", 503, "Temporarily unavailable",
            "This cannot be done just now; nothing was accepted.",
            "Try again in a moment. SMTP clients do so by themselves.", "application_error"),
    Refusal("internal_error", 451, "4.3.0", 500, "Our error",
            "Something went wrong on our side.",
            "Try again; write to support with the request's id (X-Request-Id) or time if it stays.", "application_error"),
]  # fmt: skip

REFUSALS = {row.code: row for row in _ROWS}


class Refused(Exception):
    """A submission or request is refused. Each door turns it into its own form."""

    def __init__(
        self,
        code: str,
        *,
        detail: str = "",
        pointer: str = "",
        errors: list[dict[str, str]] | None = None,
        retry_after_s: int | None = None,
        **values: object,
    ) -> None:
        """`detail`, `retry_after_s`: in place of the row's own. `pointer`: the one field of a REST request that is meant."""
        self.refusal = REFUSALS[code]
        self.retry_after_s = self.refusal.retry_after_s if retry_after_s is None else retry_after_s
        self.detail = detail or self.refusal.detail.format(**values)
        # REST: {"pointer": JSON pointer (RFC 6901), "detail": words}
        self.errors = errors or ([{"pointer": pointer, "detail": self.detail}] if pointer else [])
        super().__init__(f"{code}: {self.detail}")

    @property
    def code(self) -> str:
        return self.refusal.code

    def smtp_reply(self) -> str:
        """One reply line, without its CRLF; RFC 5321 (4.5.3.1.5) allows 510 octets."""
        refusal = self.refusal
        head, tail = f"{refusal.smtp} {refusal.enhanced} {refusal.code}: ", f" {refusal.help_url}"
        detail = self.detail.encode("ascii", "replace").decode()
        return head + detail[: 500 - len(head) - len(tail)] + tail
