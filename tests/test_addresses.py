"""The short way of judging an address says what the full one says."""

from hypothesis import given
from hypothesis import strategies as st

from relay.submission.addresses import _validated, parse_address

LOCAL = st.text(alphabet="ab.A-_ +'\"\\()<>,;:@äπ\u200b\r\n\0", max_size=8) | st.sampled_from(
    ["postmaster", "Abuse", "a" * 64, "a" * 65, "a" * 200, "a.b", ".a", "a.", "a..b"]
)
DOMAIN = st.sampled_from(
    [
        "b.test",
        "B.Test",
        "exämple.test",
        "localhost",
        "a.invalid",
        "a..b",
        "[1.2.3.4]",
        "-a.test",
        "a_b.test",
        " a.test",
        "a.test.",
        "a.test ",
        "ＡＢ.test",
        "a" * 64 + ".test",
        "a" * 60 + "." + "b" * 60 + "." + "c" * 60 + ".test",
        "",
    ]
)


@given(LOCAL, DOMAIN)
def test_the_short_way_agrees_with_the_full_one(local_part: str, domain: str) -> None:
    short, full = parse_address(f"{local_part}@{domain}"), _validated(f"{local_part}@{domain}")
    # The library writes `Postmaster` and the like in lower case; here a local part stays as it was given.
    assert (short and (short[0].lower(), short[1])) == (full and (full[0].lower(), full[1]))
