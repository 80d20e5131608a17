"""What there is to read, and in which order: the one table that sidebar, previous and next, and search go by."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

FOLDER = settings.BASE_DIR / "docs"
INDEX = "README"  # what code hosts show of a folder


@dataclass(frozen=True, slots=True)
class Section:
    """`pages`: files of `docs/` without `.md`, each with what the sidebar calls it."""

    title: str
    pages: dict[str, str]


SECTIONS = [
    Section("Get started", {
        INDEX: "Introduction",
        "start": "Your first message",
        "smtp-or-api": "SMTP or API",
    }),
    Section("Quick starts", {
        "quickstarts/curl": "curl and swaks",
        "quickstarts/python": "Python",
        "quickstarts/django": "Django",
        "quickstarts/flask-fastapi": "Flask and FastAPI",
        "quickstarts/node": "Node",
        "quickstarts/nextjs": "Next.js",
        "quickstarts/php": "PHP",
        "quickstarts/laravel": "Laravel",
        "quickstarts/wordpress": "WordPress",
        "quickstarts/ruby": "Ruby and Rails",
        "quickstarts/go": "Go",
        "quickstarts/java": "Java and Spring",
        "quickstarts/csharp": "C#",
        "quickstarts/postfix": "Postfix",
    }),
    Section("Sending", {
        "smtp": "Sending over SMTP",
        "rest": "Sending over REST",
        "idempotency": "Never twice",
        "templates": "Templates",
        "queue": "The queue, and sending later",
        "api-keys": "API keys",
        "resend": "Resend’s SDKs, anymail",
    }),
    Section("Domains", {
        "domains": "Domains",
        "email-authentication": "DKIM, SPF, DMARC",
        "domain-connect": "Set up in one click",
        "domain-diagnoses": "Diagnoses",
        "domain-checks": "How DNS is asked",
    }),
    Section("What becomes of mail", {
        "retries-and-reasons": "States, retries, reasons",
        "webhooks": "Webhooks",
        "returns": "What comes back",
        "suppressions": "Suppressions",
        "unsubscribe": "Unsubscribing",
        "deliverability": "Deliverability",
        "statistics": "Statistics",
        "finding": "Finding messages",
        "delivery-security": "Secure delivery",
    }),
    Section("Moving here", {
        "moving/resend": "From Resend",
        "moving/postmark": "From Postmark",
        "moving/sendgrid": "From SendGrid",
        "moving/ses": "From Amazon SES",
        "moving/mailgun": "From Mailgun",
    }),
    Section("Your organization", {
        "plans": "Plans and retention",
        "deleting": "Leaving for good",
    }),
    Section("Reference", {
        "api": "API reference",
        "errors": "Error codes",
        "glossary": "Glossary",
    }),
    Section("Sandbox", {
        "sandbox": "The sandbox",
        "sandbox-dns": "DNS that lies",
    }),
    Section("Self-hosting", {
        "self-hosting": "Running PlugSend",
        "operators": "For operators",
        "settings": "Settings",
        "platform-dns": "The DNS of an installation",
    }),
]  # fmt: skip

ORDER = [slug for section in SECTIONS for slug in section.pages]
SECTION_OF = {slug: section.title for section in SECTIONS for slug in section.pages}
SHORT_TITLES = {slug: title for section in SECTIONS for slug, title in section.pages.items()}
