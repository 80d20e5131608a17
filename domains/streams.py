"""Streams: kinds of mail that recipients may unsubscribe from, each named by a word. No I/O."""

import re

STREAM_LENGTH = 40
STREAM_WORD = rf"[a-z0-9_-]{{1,{STREAM_LENGTH}}}"
STREAM_RULE = f"write a word of at most {STREAM_LENGTH} characters: a to z, digits, _ and -"
NO_STREAM = "none"  # of a message, where its SMTP user has a stream
_STREAM = re.compile(STREAM_WORD)


def is_stream(word: str) -> bool:
    return bool(_STREAM.fullmatch(word))
