"""A mail made readable: headers, text, and HTML that can do no harm. Plain functions over octets.

What comes in was written by anyone. It is shown escaped, or cleaned by nh3 and served under a policy (`preview_policy`) that
takes every privilege from it: no scripts, no forms, no origin, no way to the page around it, and nothing loaded from elsewhere
but images, where the reader asks for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser

import nh3

TEXT_SHOWN = 30_000  # characters: a page stays light, the whole mail is a download away
SOURCE_SHOWN = 40_000  # octets
HTML_SHOWN = 250_000  # characters: time to clean the worst grows with the square; mail clients cut at 100 KiB

_PRESENTATION = {
    "align",
    "bgcolor",
    "border",
    "cellpadding",
    "cellspacing",
    "height",
    "valign",
    "width",
    "style",
    "dir",
}
_TAGS = nh3.ALLOWED_TAGS | {"center", "font", "section", "article", "header", "footer", "main"}
_ATTRIBUTES = {tag: set(names) for tag, names in nh3.ALLOWED_ATTRIBUTES.items()}
_ATTRIBUTES["*"] = _ATTRIBUTES.get("*", set()) | _PRESENTATION
_ATTRIBUTES["font"] = {"color", "face", "size"}
_ATTRIBUTES.setdefault("img", set()).update({"src", "alt"})


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    content_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What a page shows of a mail. `text` and `source` may be cut short (`*_is_cut`)."""

    headers: list[tuple[str, str]]
    text: str
    has_html: bool
    may_have_remote_images: bool
    attachments: list[Attachment]
    source: str
    text_is_cut: bool
    source_is_cut: bool


def preview(raw: bytes) -> Preview:
    message = _parse(raw)
    text = _body(message, "plain")
    html = _body(message, "html")
    source = raw[:SOURCE_SHOWN].decode("utf-8", "replace").replace("\r\n", "\n")
    return Preview(
        headers=headers(raw),
        text=text[:TEXT_SHOWN],
        has_html=_part(message, "html") is not None,
        may_have_remote_images=may_have_remote_images(html[:HTML_SHOWN]),
        attachments=_attachments(message),
        source=source,
        text_is_cut=len(text) > TEXT_SHOWN,
        source_is_cut=len(raw) > SOURCE_SHOWN,
    )


def headers(raw: bytes) -> list[tuple[str, str]]:
    """Every header, in order, unfolded and decoded where it can be."""
    block = BytesHeaderParser(policy=policy.compat32).parsebytes(raw)
    return [(name, _decoded(name, str(value))) for name, value in block.items()]


def preview_policy(*, framed_by: str, remote_images: bool) -> str:
    """The Content-Security-Policy of `safe_html`. `framed_by`: the source expression of the pages that may show it.

    It holds wherever the HTML is opened: in its frame, in a tab of its own, at whatever host.
    """
    return (
        f"sandbox; default-src 'none'; img-src data:{' https:' if remote_images else ''}; style-src 'unsafe-inline'; "
        f"base-uri 'none'; form-action 'none'; frame-ancestors {framed_by}"
    )


def may_have_remote_images(html: str) -> bool:
    html = html.lower()
    return "https://" in html and ("<img" in html or "url(" in html)


def safe_html(raw: bytes) -> str | None:
    """The mail's HTML part as a whole document, cleaned; None when there is none. Serve it with `preview_policy`."""
    body = _body(_parse(raw), "html")
    if not body:
        return None
    cleaned = nh3.clean(
        body[:HTML_SHOWN],
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        clean_content_tags={"script", "style", "title"},
        attribute_filter=_kept,
        url_schemes={"http", "https", "mailto", "data"},
        link_rel="noopener noreferrer nofollow",
    )
    # Links open nowhere: the sandbox forbids new windows, and `_blank` keeps them from replacing the preview.
    end = "<p>Cut short here. Download the mail to see all of it.</p>" if len(body) > HTML_SHOWN else ""
    return (
        '<!doctype html><html><head><meta charset="utf-8"><base target="_blank">'
        "<style>body{margin:16px;font:15px/1.5 system-ui,sans-serif;color:#18181b;background:#fff}"
        "img{max-width:100%}</style></head><body>" + cleaned + end + "</body></html>"
    )


def _kept(tag: str, attribute: str, value: str) -> str | None:
    """Of `data:` addresses those of pictures only: elsewhere they are whole documents."""
    is_data = attribute in {"href", "src", "cite"} and value.lstrip().lower().startswith("data:")
    return None if is_data and not (tag == "img" and attribute == "src") else value


def _parse(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, policy=policy.default)


def _part(message: EmailMessage, kind: str) -> EmailMessage | None:
    try:
        part = message.get_body(preferencelist=(kind,))
    except Exception:  # the parser trips over some malformed mails; such a one has a source view still
        return None
    return part if isinstance(part, EmailMessage) else None


def _body(message: EmailMessage, kind: str) -> str:
    part = _part(message, kind)
    if part is None:
        return ""
    try:
        return str(part.get_content())
    except (LookupError, ValueError, AttributeError):  # an unknown charset, a broken transfer encoding
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""


def _attachments(message: EmailMessage) -> list[Attachment]:
    try:
        parts = list(message.iter_attachments())
    except Exception:
        return []
    found = []
    for part in parts:
        payload = part.get_payload(decode=True)
        size = len(payload) if isinstance(payload, bytes) else 0
        found.append(Attachment(part.get_filename() or "(no name)", part.get_content_type(), size))
    return found


def _decoded(name: str, value: str) -> str:
    unfolded = " ".join(line.strip() for line in value.splitlines())
    try:
        return str(policy.default.header_factory(name, unfolded))
    except Exception:
        return unfolded
