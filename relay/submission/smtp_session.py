"""The SMTP session: what may be said when, and what is answered (RFC 5321, 6409, 4954, 3207, 3030, 2034).

Every reply but the greeting, the one to EHLO and those that ask for more carries an enhanced code (RFC 2034, 3).
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from aiosmtpd.smtp import syntax

from accounts.catalogue import Refused
from accounts.credentials import Credential
from relay.models import Door
from relay.submission.accept import (
    NULL_SENDER,
    Submission,
    check_recipients,
    check_sender,
    check_size,
    recipients_limit,
    sender_domain,
    size_limit,
    too_large,
)
from relay.submission.repeats import Receipt
from relay.submission.smtp_arguments import (
    Malformed,
    check_no_parameters,
    read_chunk,
    read_mail_parameters,
    read_path,
)
from relay.submission.smtp_auth import Authentication
from relay.submission.smtp_connection import NEVER, Goodbye
from relay.submission.smtp_content import Arriving
from relay.submission.smtp_input import Gone

Command = Callable[["SubmissionSession", str], Awaitable[None]]


class SubmissionSession(Authentication):
    """One client's session: its commands. A handler raises `Malformed` or `Refused` to say no."""

    commands: ClassVar[dict[bytes, Command]]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._bad_commands = 0
        self._messages = 0
        self._start_over()

    def _start_over(self) -> None:
        """No mail transaction (RFC 5321, 4.1.1.5)."""
        self.sender: str | None = None
        self._is_utf8 = False
        self._recipients: list[str] = []
        self._recipients_refused = 0
        self._chunks: Arriving | None = None
        self._chunks_failed = False
        self.is_in_hand = False

    async def converse(self) -> None:
        if self.reception.is_closing:
            raise Refused("shutting_down")
        self.reply(f"220 {self.reception.hostname} ESMTP PlugSend")
        with contextlib.ExitStack() as self.places:
            try:
                while True:
                    await self._next_command()
            finally:
                self._forget_chunks()

    async def _next_command(self) -> None:
        limits = self.reception.limits
        if self.credential:  # before that, all of it must be done within the time to sign in
            self.deadline = self.loop.time() + limits.idle_s
        line = await self._input.line(max(limits.auth_octets, limits.command_octets))
        try:
            await self._obey(line)
        except Malformed as malformed:
            self._reply_to_bad(str(malformed))
        except Refused as refused:
            if refused.refusal.smtp == 421:  # RFC 5321, 3.8: the reply of a server that is about to close
                raise
            if refused.refusal.smtp == 535:  # a wrong key, or one that does not work any more
                self._reply_to_bad(refused.smtp_reply())
            else:
                self.reply(refused.smtp_reply())
        if self.reception.is_closing and not self.is_in_hand:
            raise Refused("shutting_down")

    async def _obey(self, line: bytes | None) -> None:
        # RFC 5321, 4.5.3.1.4. An AUTH line may be longer (RFC 4954, 4).
        if line is None or (len(line) > self.reception.limits.command_octets and line[:5].upper() != b"AUTH "):
            raise Malformed("500 5.5.2 Line too long")
        # RFC 5321, 2.3.8: a line ends with CRLF, and neither octet occurs alone.
        text = line[:-2]
        if not line.endswith(b"\r\n") or b"\r" in text or b"\0" in text:
            raise Malformed("500 5.5.2 Lines end with CRLF and hold no bare CR, LF or NUL")
        verb, _, argument = text.partition(b" ")
        command = self.commands.get(verb.upper())
        if command is None:
            raise Malformed("500 5.5.2 Command not known; HELP lists those that are")
        await command(self, argument.decode("utf-8", "surrogateescape").strip(" \t"))

    def _reply_to_bad(self, reply: str) -> None:
        self._bad_commands += 1
        if self._bad_commands >= self.reception.limits.bad_commands:
            raise Refused("too_many_bad_commands", limit=self.reception.limits.bad_commands)
        self.reply(reply)

    # ---- who is there ------------------------------------------------------------------------------------------------

    @syntax("EHLO hostname")
    async def smtp_EHLO(self, arg: str) -> None:
        self._hello(arg, is_extended=True)
        self.reply(self.reception.hello_encrypted if self.is_encrypted else self.reception.hello_in_clear)

    @syntax("HELO hostname")
    async def smtp_HELO(self, arg: str) -> None:
        self._hello(arg, is_extended=False)
        self.reply(f"250 {self.reception.hostname}")

    def _hello(self, name: str, *, is_extended: bool) -> None:
        # RFC 5321, 4.1.1.1 and 4.1.4: a name there must be; whether it is the client's own is not ours to judge.
        if not name or not name.isprintable() or " " in name:
            raise Malformed("501 5.5.4 Syntax: EHLO hostname")
        self._forget_chunks()
        self._start_over()  # RFC 5321, 4.1.4
        self.has_greeted, self.is_extended = True, is_extended

    @syntax("STARTTLS")
    async def smtp_STARTTLS(self, arg: str) -> None:
        if arg:
            raise Malformed("501 5.5.4 Syntax: STARTTLS")  # RFC 3207, 4
        if self.is_encrypted:
            raise Malformed("503 5.5.1 TLS is already in use")
        self._check_greeted()
        await self.start_tls()
        self._forget_chunks()
        self._start_over()
        self.has_greeted = self.is_extended = False  # RFC 3207, 4.2: everything learned before is to be forgotten

    def _check_greeted(self) -> None:
        if not self.has_greeted:
            raise Malformed("503 5.5.1 Say EHLO first")  # RFC 5321, 4.1.4

    def _check_signed_in(self) -> Credential:
        self._check_greeted()
        if self.credential is None:
            raise Refused("authentication_required")  # RFC 4954, 6; RFC 6409, 4.3
        return self.credential

    # ---- the envelope ------------------------------------------------------------------------------------------------

    @syntax("MAIL FROM:<address>", extended=" [SIZE=n] [BODY=7BIT|8BITMIME] [SMTPUTF8] [AUTH=mailbox]")
    async def smtp_MAIL(self, arg: str) -> None:
        self._check_signed_in()
        if self.sender is not None:
            raise Malformed("503 5.5.1 A sender is given already; RSET starts over")  # RFC 5321, 4.1.4
        if self._messages >= self.reception.limits.messages_per_connection:
            raise Refused("too_many_messages", limit=self.reception.limits.messages_per_connection)
        path, rest = read_path("FROM:", arg)
        parameters = read_mail_parameters(rest)
        _check_script(path, is_utf8=parameters.is_utf8)
        credential = await self.credential_again()
        credential.check_may_send()
        check_size(parameters.size, credential, self.reception.desk.limits)  # RFC 1870, 6.1
        if path != NULL_SENDER:
            domain = sender_domain(path)
            check_sender(credential, path, domain, await self.reception.desk.sending_domain(credential, domain))
        self.sender, self._is_utf8 = path, parameters.is_utf8
        self.reply("250 2.1.0 Sender ok")

    @syntax("RCPT TO:<address>")
    async def smtp_RCPT(self, arg: str) -> None:
        credential = self._check_signed_in()
        if self.sender is None or self._chunks is not None or self._chunks_failed:
            raise Malformed("503 5.5.1 Recipients come after MAIL and before the content")  # RFC 5321, 4.1.4
        path, rest = read_path("TO:", arg)
        check_no_parameters(rest)
        most = recipients_limit(credential, self.reception.desk.limits)
        self._recipients_refused += 1
        _check_script(path, is_utf8=self._is_utf8)
        if path.lower() == "postmaster":  # RFC 5321, 4.5.1: taken without a domain too
            path = f"{path}@{self.reception.postmaster_domain}"
        if len(self._recipients) >= most:
            raise Refused("too_many_recipients", limit=most)  # RFC 5321, 4.5.3.1.10
        check_recipients((path,), most)
        self._recipients_refused -= 1
        self._recipients.append(path)
        self.reply("250 2.1.5 Recipient ok")

    # ---- the content -------------------------------------------------------------------------------------------------

    @syntax("DATA")
    async def smtp_DATA(self, arg: str) -> None:
        self._check_signed_in()
        if arg:
            raise Malformed("501 5.5.4 Syntax: DATA")
        if self._chunks is not None or self._chunks_failed:
            raise Malformed("503 5.5.1 BDAT and DATA do not mix; RSET starts over")  # RFC 3030, 2
        self._check_recipients()
        self.reply("354 End data with <CR><LF>.<CR><LF>")
        # RFC 1870, 3: transparency dots do not count; there may be one to three other octets (`..` CRLF).
        limit = size_limit(self._check_signed_in(), self.reception.desk.limits)
        arriving = Arriving(limit + limit // 3 + 1, self.reception.spool)
        progress = self._transfer_begins()
        try:
            await self._input.content(arriving, progress)
            await self._submit(arriving)
        finally:
            arriving.close()
            self._start_over()

    @syntax("BDAT octets [LAST]")
    async def smtp_BDAT(self, arg: str) -> None:
        """RFC 3030, 2: a chunk is read whatever is answered, and one that fails makes the whole transaction fail."""
        try:
            octets, is_last = read_chunk(arg)
        except Malformed as malformed:
            # Nobody knows how much content follows, and content must not be obeyed.
            raise Goodbye(str(malformed)) from malformed
        progress = self._transfer_begins()
        try:
            if self._chunks is None and not self._chunks_failed:
                limit = size_limit(self._check_signed_in(), self.reception.desk.limits)
                self._check_recipients()
                self._chunks = Arriving(limit, self.reception.spool)
        except (Malformed, Refused):
            await self._fail_chunk(octets, progress, is_last=is_last)
            raise
        if self._chunks is None:  # RFC 3030, 2: chunks already under way are read and thrown away
            await self._fail_chunk(octets, progress, is_last=is_last)
            raise Malformed("503 5.5.1 The transaction has failed; RSET starts over")
        await self._input.octets(octets, self._chunks, progress)
        if not is_last:
            if self._chunks.is_too_large:
                octets = self._chunks.octets
                self._forget_chunks(failed=True)
                raise too_large(octets, self._check_signed_in(), self.reception.desk.limits)
            self.deadline = self.loop.time() + self.reception.limits.idle_s
            self.reply(f"250 2.0.0 {octets} octets received")
            return
        try:
            await self._submit(self._chunks)
        finally:
            self._forget_chunks()
            self._start_over()

    async def _fail_chunk(self, octets: int, progress: Callable[[], None], *, is_last: bool) -> None:
        await self._input.octets(octets, None, progress)
        self._chunks_failed = self.sender is not None
        self.is_in_hand = False
        if is_last:  # the end of the transaction, as a refused DATA is
            self._start_over()

    def _forget_chunks(self, *, failed: bool = False) -> None:
        if self._chunks is not None:
            self._chunks.close()
        self._chunks, self._chunks_failed = None, failed
        self.is_in_hand = False

    def _check_recipients(self) -> None:
        # RFC 5321, 3.3: 503 when there was no RCPT, 554 when none was good.
        if not self._recipients:
            if self._recipients_refused:
                raise Refused("no_recipients")
            raise Malformed("503 5.5.1 Give at least one valid recipient first")

    def _transfer_begins(self) -> Callable[[], None]:
        """The clock of a content: progress resets the idle time, nothing resets the whole."""
        limits, loop = self.reception.limits, self.loop
        self.is_in_hand = True
        end = loop.time() + limits.transfer_s

        def progress() -> None:
            if self.credential:
                self.deadline = min(end, loop.time() + limits.idle_s)

        progress()
        return progress

    async def _submit(self, arriving: Arriving) -> None:
        """Answers when the message is durable, or refused with nothing stored."""
        self.deadline = NEVER  # it is our turn
        desk = self.reception.desk
        if arriving.is_too_large:
            raise too_large(arriving.octets, self._check_signed_in(), desk.limits)
        if arriving.is_lost:
            raise Refused("insufficient_storage")
        async with self.reception.room.of(arriving.octets):
            content = arriving.take()
            if not content.endswith(b"\r\n"):
                content += b"\r\n"  # a chunk may end anywhere; a message ends with a line (RFC 5322, 2.1)
            credential = await self.credential_again()
            submission = Submission(
                credential=credential,
                door=Door.SMTP.value,
                protocol=self._protocol(),
                envelope_sender=self.sender or NULL_SENDER,
                recipients=tuple(self._recipients),
                content=content,
                client=self.peer,
            )
            del content
            receipt = await desk.submit(submission)
        self._messages += 1
        self.deadline = self.loop.time() + self.reception.limits.idle_s
        self.reply(f"250 2.0.0 Ok: queued as {receipt.message_id}{_in_words(receipt, len(submission.recipients))}")

    def _protocol(self) -> str:
        """RFC 3848; RFC 6531, 4.3. Whoever gets this far is under TLS and signed in, but may have said HELO again."""
        if not self.is_extended:
            return "SMTP"
        return "UTF8SMTPSA" if self._is_utf8 else "ESMTPSA"

    # ---- the rest ----------------------------------------------------------------------------------------------------

    @syntax("RSET")
    async def smtp_RSET(self, arg: str) -> None:
        if arg:
            raise Malformed("501 5.5.4 Syntax: RSET")
        self._forget_chunks()
        self._start_over()
        self.reply("250 2.0.0 Ok")

    @syntax("NOOP [ignored]")
    async def smtp_NOOP(self, arg: str) -> None:
        self.reply("250 2.0.0 Ok")  # RFC 5321, 4.1.1.9: the argument is ignored

    @syntax("VRFY address")
    async def smtp_VRFY(self, arg: str) -> None:
        self._check_signed_in()
        if not arg:
            raise Malformed("501 5.5.4 Syntax: VRFY address")
        # RFC 5321, 3.5.3 and 7.3: neither yes nor no.
        self.reply("252 2.5.2 Cannot verify the address, but will take mail for it and try to deliver")

    @syntax("EXPN list")
    async def smtp_EXPN(self, arg: str) -> None:
        raise Malformed("502 5.5.1 There are no lists here")  # RFC 5321, 3.5.2

    @syntax("HELP [command]")
    async def smtp_HELP(self, arg: str) -> None:
        # RFC 5321, 4.1.1.8
        command = self.commands.get(arg.upper().encode("ascii", "replace"))
        if not arg:
            names = " ".join(sorted(name.decode() for name in self.commands))
            self.reply(f"214 2.0.0 Commands: {names}. More: {self.reception.help_url}")
        elif command is None:
            raise Malformed("504 5.5.4 No help for that")
        else:
            described: Any = command
            self.reply(f"214 2.0.0 Syntax: {described.__smtp_syntax__}{described.__smtp_syntax_extended__ or ''}")

    @syntax("QUIT")
    async def smtp_QUIT(self, arg: str) -> None:
        if arg:
            raise Malformed("501 5.5.4 Syntax: QUIT")
        self.reply("221 2.0.0 Goodbye")
        await self._flush()
        raise Gone


SubmissionSession.commands = {
    name.removeprefix("smtp_").encode(): getattr(SubmissionSession, name)
    for name in dir(SubmissionSession)
    if name.startswith("smtp_")
}


def _in_words(receipt: Receipt, recipients: int) -> str:
    """What is to be said of those who get nothing."""
    suppressed = len(receipt.suppressed)
    if not suppressed:
        return ""
    if suppressed >= recipients:
        who = "its recipient is" if recipients == 1 else f"all {recipients} recipients are"
        return f"; {who} on your suppression list, nothing is sent"
    return f"; not sent to {suppressed} of {recipients} recipients, on your suppression list"


def _check_script(address: str, *, is_utf8: bool) -> None:
    """RFC 6531, 3.4: an address in another script needs the SMTPUTF8 parameter, and is UTF-8 then."""
    if address.isascii():
        return
    if not is_utf8 or any("\udc80" <= character <= "\udcff" for character in address):
        raise Refused("smtputf8_required", address=address[:200])
