"""Media types of attachments: read, and told from a file's name (RFC 2045, 5.1; RFC 6838, 4.2). No I/O."""

from __future__ import annotations

import mimetypes
import re
from dataclasses import dataclass

UNKNOWN = "application/octet-stream"
LONGEST = 255  # characters

_WORD = r"[A-Za-z0-9!#$&^_.+'*`|~%{}-]+"
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*({_WORD})=(?:({_WORD})|"([ !#-\[\]-~]*)")')
# The same on every machine: none of its lists is read. What Python leaves out but people send is added.
_KNOWN = mimetypes.MimeTypes()
_OFFICE = "application/vnd.openxmlformats-officedocument"
for _extension, _media_type in {
    ".docx": f"{_OFFICE}.wordprocessingml.document",
    ".xlsx": f"{_OFFICE}.spreadsheetml.sheet",
    ".pptx": f"{_OFFICE}.presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".rtf": "application/rtf",
    ".epub": "application/epub+zip",
    ".7z": "application/x-7z-compressed",
    ".rar": "application/vnd.rar",
    ".xml": "application/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".ics": "text/calendar",
    ".vcf": "text/vcard",
    ".md": "text/markdown",
    ".log": "text/plain",
    ".webp": "image/webp",
    ".ogg": "audio/ogg",
    ".wav": "audio/wav",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".asc": "application/pgp-keys",
    ".sig": "application/pgp-signature",
    ".p7m": "application/pkcs7-mime",
    ".p7s": "application/pkcs7-signature",
    ".pkpass": "application/vnd.apple.pkpass",
}.items():
    _KNOWN.add_type(_media_type, _extension)
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


@dataclass(frozen=True, slots=True)
class MediaType:
    name: str  # lower case, type/subtype
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def kind(self) -> str:
        """The type without its subtype."""
        return self.name.partition("/")[0]

    @property
    def charset(self) -> str:
        return next((value for name, value in self.parameters if name == "charset"), "")


def read_media_type(text: str) -> MediaType | None:
    """`type/subtype; parameter=value`; None where it cannot be the type of an attachment."""
    text = text.strip(" \t")
    found = _TYPE.match(text) if len(text) <= LONGEST else None
    if found is None:
        return None
    parameters, at = {}, found.end()
    while at < len(text):
        parameter = _PARAMETER.match(text, at)
        if parameter is None:
            return None
        parameters[parameter[1].lower()] = parameter[2] or parameter[3] or ""
        at = parameter.end()
    name = found[0].lower()
    # Parts of parts are ours to make; the other two have readers fetch or put together what we have not seen.
    if name.startswith("multipart/") or name in {"message/partial", "message/external-body"}:
        return None
    return MediaType(name, tuple((key, value) for key, value in parameters.items() if value))


def guess_media_type(filename: str) -> MediaType:
    """By the end of the name alone."""
    guessed, compression = _KNOWN.guess_type(f"/{filename}", strict=True)
    if compression:
        guessed = _COMPRESSED.get(compression)
    return MediaType(guessed or UNKNOWN)
