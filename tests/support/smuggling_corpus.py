"""Known ways to make two readers of HTTP/1.1 disagree, as bytes with the place each is known from.

refused     no whole request of it may reach the origin
passed      it is by the letter: all of it must
unfinished  by the letter, but its end is missing: as refused, unless something follows it
either      a proxy may do one or the other; the promises hold all the same

Knows bytes only. `SMUGGLED` is what an attacker would like the origin to see.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Verdict = Literal["refused", "passed", "unfinished", "either"]

REBORN = "https://portswigger.net/research/http-desync-attacks-request-smuggling-reborn"
SMUGGLER = "https://github.com/PortSwigger/http-request-smuggler DesyncBox.java"
BROWSER = "https://portswigger.net/research/browser-powered-desync-attacks"
MUST_DIE = "https://portswigger.net/research/http1-must-die"
FUNKY = "https://w4ke.info/2025/06/18/funky-chunks.html"
GARDEN = "https://github.com/narfindustries/http-garden"
T_REQS = "Jabiyev et al., T-Reqs: HTTP Request Smuggling with Differential Fuzzing, CCS 2021"
PROBE = "https://github.com/MDA2AV/Http11Probe"
KLEIN = "Amit Klein, HTTP Request Smuggling in 2020, Black Hat USA 2020"
HAPROXY_CL = "https://nvd.nist.gov/vuln/detail/CVE-2023-40225"
HAPROXY_NAME = "https://nvd.nist.gov/vuln/detail/CVE-2023-25725"
NODE_CR = "https://nvd.nist.gov/vuln/detail/CVE-2023-30589"
GO_CHUNKED = "https://nvd.nist.gov/vuln/detail/CVE-2022-1705"
GO_LF = "https://nvd.nist.gov/vuln/detail/CVE-2025-22871"
H2C = "https://bishopfox.com/blog/h2c-smuggling-request"
HOP = "https://nathandavison.com/blog/abusing-http-hop-by-hop-request-headers"
RFC_9112 = "https://www.rfc-editor.org/rfc/rfc9112"

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
CL, TE = b"Content-Length: 5", b"Transfer-Encoding: chunked"


class Case(NamedTuple):
    name: str
    source: str
    data: bytes
    verdict: Verdict


def post(*lines: bytes, body: bytes = b"", target: bytes = b"/p", version: bytes = b"1.1") -> bytes:
    head = [b"POST %b HTTP/%b" % (target, version), b"Host: a", *lines, b"", b""]
    return b"\r\n".join(head) + body


def get(*lines: bytes, target: bytes = b"/g", method: bytes = b"GET", end: bytes = b"") -> bytes:
    return b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"Host: a", *lines, b"", b""]) + end


def _lengths() -> list[Case]:
    both = b"0\r\n\r\n" + SMUGGLED
    made = [
        Case("CL.TE", REBORN, post(b"Content-Length: %d" % len(both), TE, body=both), "refused"),
        Case("TE.CL", REBORN, post(b"Content-Length: 4", TE, body=b"5c\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"), "refused"),
        Case("TE before CL", REBORN, post(TE, CL, body=CHUNKS + SMUGGLED), "refused"),
        Case("CL 0 with TE", PROBE, post(b"Content-Length: 0", TE, body=CHUNKS), "refused"),
        Case("TE in HTTP/1.0", RFC_9112 + "#section-6.1", post(TE, body=CHUNKS, version=b"1.0"), "refused"),
        Case("two CL that differ", GARDEN, post(CL, b"Content-Length: 6", body=b"hello!" + SMUGGLED), "refused"),
        Case("two CL that agree", PROBE, post(CL, CL, body=b"hello"), "refused"),
        Case("CL and cl", GARDEN, post(CL, b"content-length: 0", body=b"hello"), "refused"),
        Case("CL.0", BROWSER, post(b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED), "passed"),
        Case("0.CL", MUST_DIE, get(b"Content-Length: %d" % len(SMUGGLED), end=SMUGGLED), "passed"),
        Case("HEAD with a body", T_REQS, get(b"Content-Length: %d" % len(SMUGGLED), method=b"HEAD", end=SMUGGLED), "passed"),
        Case("OPTIONS with a body", T_REQS, get(CL, method=b"OPTIONS", target=b"*", end=b"hello"), "passed"),
        Case("DELETE in chunks", T_REQS, get(TE, method=b"DELETE", end=CHUNKS), "passed"),
        Case("GET in chunks", T_REQS, get(TE, end=CHUNKS + get(target=b"/second")), "passed"),
        Case("CL with zeroes before", PROBE, post(b"Content-Length: 0005", body=b"hello"), "either"),
        Case("CL in another case", T_REQS, post(b"cONTENT-lENGTH: 5", body=b"hello"), "passed"),
        Case("TE in another case", SMUGGLER, post(b"TRANSFER-ENCODING: CHUNKED", body=CHUNKS), "passed"),
        Case("no length, a request behind", PROBE, post(body=SMUGGLED), "passed"),
        Case("body shorter than CL", PROBE, post(b"Content-Length: 50", body=b"hello"), "unfinished"),
        Case("0.CL hidden by a space", MUST_DIE, get(b"Content-Length : %d" % len(SMUGGLED), end=SMUGGLED), "refused"),
        Case("CL hidden by a line", MUST_DIE, post(b"Content-Length:\r\n 5", body=b"hello" + SMUGGLED), "refused"),
    ]  # fmt: skip
    values = [
        b"+5", b"-5", b"0x5", b"5,5", b"5, 5", b"5;x", b"5 5", b"5.0", b"5e0", b"", b"five", b'"5"', b"0o5", b"5_0", b"\xb25",
        b"18446744073709551621", b"9" * 40, b"5\x0b", b"\x0c5", b"5\0", b"-0", b"5\r", b"NaN", b"1,000", b"\xd9\xa5",
    ]  # fmt: skip
    source = f"{PROBE}; {HAPROXY_CL}; {GARDEN}"
    made += [Case(f"CL {v!r}", source, post(b"Content-Length: " + v, body=b"hello"), "refused") for v in values]
    names = [
        b"Content_Length",
        b"Content Length",
        b"Content-Length ",
        b"Content-Length\t",
        b"Content-Length\0",
        b"\xa0Content-Length",
    ]
    made += [Case(f"CL as {n!r}", f"{SMUGGLER}; {KLEIN}", post(n + b": 5", body=b"hello"), "refused") for n in names]
    return made


def _codings() -> list[Case]:
    """Transfer-Encoding that one reader sees and another does not: each alone, and with a Content-Length beside it."""
    lines = {
        "space before the colon": b"Transfer-Encoding : chunked",
        "tab before the colon": b"Transfer-Encoding\t: chunked",
        "a space for the dash": b"Transfer Encoding: chunked",
        "an underscore for the dash": b"Transfer_Encoding: chunked",
        "a backslash for the dash": b"Transfer\\Encoding: chunked",
        "no colon": b"Transfer-Encoding chunked",
        "folded name": b"Foo: bar\r\n Transfer-Encoding: chunked",
        "folded name, tab": b"Foo: bar\r\n\tTransfer-Encoding: chunked",
        "folded value": b"Transfer-Encoding:\r\n chunked",
        "folded value, tab": b"Transfer-Encoding:\r\n\tchunked",
        "bare LF fold": b"Transfer-Encoding:\n chunked",
        "gareth": b"Transfer-Encoding\n : chunked",
        "bare CR before": b"Foo: bar\rTransfer-Encoding: chunked",
        "bare LF before": b"Foo: bar\nTransfer-Encoding: chunked",
        "vertical tab wrap": b"Transfer-Encoding: \n\x0bchunked",
        "CR begins the line": b"Foo: bar\r\n\rTransfer-Encoding: chunked",
        "CR in the name": b"Tra\rnsfer-Encoding: chunked",
        "x in the name": b"Transfer-Encoding x: chunked",
        "0xFF for the space": b"Transfer-Encoding:\xffchunked",
        "no-break space": b"Transfer-Encoding:\xa0chunked",
        "identity behind": b"Transfer-Encoding: chunked, identity",
        "identity before": b"Transfer-Encoding: identity, chunked",
        "quoted": b'Transfer-Encoding: "chunked"',
        "apostrophes": b"Transfer-Encoding: 'chunked'",
        "chunk": b"Transfer-Encoding: chunk",
        "chunkedx": b"Transfer-Encoding: chunkedx",
        "xchunked": b"Transfer-Encoding: xchunked",
        "x chunked": b"Transfer-Encoding: x chunked",
        "CR behind": b"Transfer-Encoding: chunked\r",
        "two, identity last": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "two, chunked last": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "twice chunked": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "a list of the same": b"Transfer-Encoding: chunked, chunked",
        "two, cow last": b"Transfer-Encoding: chunked\r\nTransfer-encoding: cow",
        "bare LF body split": b"Foo: barn\n\nTransfer-Encoding: chunked",
        "nested": b"Transfer-Encoding: identity, chunked, identity",
        "percent-encoded name": b"Transfer-%45ncoding: chunked\r\nTransfer_encoding: chunked",
        "accent in the name": b"Transf\x82r-Encoding: chunked",
        "accent in the value": b"Transfer-Encoding: ch\x96nked",
        "gzip, chunked": b"Transfer-Encoding: gzip, chunked",
        "identity": b"Transfer-Encoding: identity",
        "empty": b"Transfer-Encoding: ",
        "a comma": b"Transfer-Encoding: ,chunked",
        "a comma behind": b"Transfer-Encoding: chunked,",
        "a parameter": b"Transfer-Encoding: chunked;ext=val",
        "a semicolon": b"Transfer-Encoding: chunked;",
        "colon twice": b"Transfer-Encoding:: chunked",
        "NUL behind the name": b"Transfer-Encoding\0: chunked",
        "brackets": b"[Transfer-Encoding]: chunked",
        "space before the name": b" Transfer-Encoding: chunked",
        "h2 line": b"Transfer-Encoding`chunked : chunked",
    }
    for octet in (0, 11, 12, 13, 127, 0x85, 0x1C, 0xA0):
        one = bytes([octet])
        lines[f"octet {octet} before"] = b"Transfer-Encoding: " + one + b"chunked"
        lines[f"octet {octet} behind"] = b"Transfer-Encoding: chunked" + one
        lines[f"octet {octet} for the space"] = b"Transfer-Encoding:" + one + b"chunked"
    source = f"{SMUGGLER}; {GO_CHUNKED}; {T_REQS}"
    body = CHUNKS + SMUGGLED
    made = [Case(f"TE {name}", source, post(line, body=body), "refused") for name, line in lines.items()]
    made += [
        Case(f"CL, TE {name}", source, post(b"Content-Length: %d" % len(body), line, body=body), "refused")
        for name, line in lines.items()
    ]
    fine = {
        "two spaces": b"Transfer-Encoding:  chunked",
        "no space": b"Transfer-Encoding:chunked",
        "tab": b"Transfer-Encoding:\tchunked",
        "named in Connection": b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
    }
    made += [Case(f"TE {name}", source, post(line, body=CHUNKS), "passed") for name, line in fine.items()]
    # By the letter, but blanks around a value are how many of the above work.
    made.append(Case("TE tab behind", source, post(b"Transfer-Encoding: chunked\t", body=CHUNKS), "either"))
    made.append(
        Case("Content-Encoding: chunked", SMUGGLER, post(b"Content-Encoding: chunked", CL, body=b"hello"), "passed")
    )
    return made


def _chunks() -> list[Case]:
    bodies: dict[str, tuple[bytes, Verdict]] = {
        "TERM.EXT": (b"5;\nhello\r\n0\r\n\r\n", "refused"),
        "EXT.TERM": (b"2;\nxx\r\n4c\r\n0\r\n\r\n" + SMUGGLED + b"\r\n0\r\n\r\n", "refused"),
        "TERM.SPILL": (b"5\r\nhello\n0\r\n\r\n", "refused"),
        "SPILL.TERM": (b"5\r\nhelloX\r\n0\r\n\r\n", "refused"),
        "ONE.TWO": (b"5\r\nhello\r0\r\n\r\n", "refused"),
        "bare CR in an extension": (b"5;a\rb\r\nhello\r\n0\r\n\r\n", "refused"),
        "bare CR ends a size": (b"5\rhello\r\n0\r\n\r\n", "refused"),
        "bare LF ends a size": (b"5\nhello\r\n0\r\n\r\n", "refused"),
        "bare LF ends the last": (b"5\r\nhello\r\n0\n\r\n", "refused"),
        "bare LF ends the trailers": (b"5\r\nhello\r\n0\r\n\n" + SMUGGLED, "refused"),
        "NUL in an extension": (b"5;\0ext\r\nhello\r\n0\r\n\r\n", "refused"),
        "LF in a quoted extension": (b'5;a="\n"\r\nhello\r\n0\r\n\r\n', "refused"),
        "CRLF in a quoted extension": (b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n', "refused"),
        "an extension": (b'5;a=b;c="d;\\"e"\r\nhello\r\n0;x\r\n\r\n', "passed"),
        "an empty extension": (b"5;\r\nhello\r\n0\r\n\r\n", "refused"),
        "an extension of 100 kB": (b"5;" + b"a" * 100_000 + b"\r\nhello\r\n0\r\n\r\n", "refused"),
        "0x": (b"0x5\r\nhello\r\n0\r\n\r\n", "refused"),
        "plus": (b"+5\r\nhello\r\n0\r\n\r\n", "refused"),
        "minus": (b"-5\r\nhello\r\n0\r\n\r\n", "refused"),
        "underscore": (b"0_5\r\nhello\r\n0\r\n\r\n", "refused"),
        "space before": (b" 5\r\nhello\r\n0\r\n\r\n", "refused"),
        "space behind": (b"5 \r\nhello\r\n0\r\n\r\n", "refused"),
        "tab behind": (b"5\t;a\r\nhello\r\n0\r\n\r\n", "refused"),
        "empty size": (b"\r\nhello\r\n0\r\n\r\n", "refused"),
        "no digit": (b"g\r\nhello\r\n0\r\n\r\n", "refused"),
        "2**64 + 5": (b"10000000000000005\r\nhello\r\n0\r\n\r\n", "refused"),
        "2**32 + 5": (b"100000005\r\nhello\r\n0\r\n\r\n", "refused"),
        "2**63": (b"8000000000000000\r\nhello\r\n0\r\n\r\n", "refused"),
        "20 zeroes": (b"0" * 20 + b"5\r\nhello\r\n0\r\n\r\n", "either"),
        "zeroes at the end": (b"5\r\nhello\r\n000\r\n\r\n", "passed"),
        "upper-case": (b"A\r\nhellohello\r\n0\r\n\r\n", "passed"),
        "two in the last": (b"5\r\nhello\r\n0 0\r\n\r\n", "refused"),
        "rubbish behind the data": (b"5\r\nhello!\r\n0\r\n\r\n", "refused"),
        "no end": (b"5\r\nhello\r\n", "refused"),
        "no last line": (b"5\r\nhello\r\n0\r\n", "refused"),
        "rubbish behind the end": (b"5\r\nhello\r\n0\r\n\r\nX", "passed"),
        "a trailer": (b"0\r\nX-Checksum: 1\r\n\r\n", "passed"),
        "Content-Length as a trailer": (b"0\r\nContent-Length: 50\r\n\r\n", "either"),
        "Transfer-Encoding as a trailer": (b"0\r\nTransfer-Encoding: chunked\r\n\r\n", "either"),
        "a folded trailer": (b"0\r\nX: 1\r\n 2\r\n\r\n", "refused"),
        "a trailer without colon": (b"0\r\nX\r\n\r\n", "refused"),
        "a trailer with space": (b"0\r\nX : 1\r\n\r\n", "refused"),
        "a trailer with bare CR": (b"0\r\nX: 1\r2\r\n\r\n", "refused"),
        "a request as trailers": (b"0\r\n" + SMUGGLED, "refused"),
        "many trailers": (b"0\r\n" + b"X: 1\r\n" * 5000 + b"\r\n", "refused"),
        "a high octet": (b"5\xa0\r\nhello\r\n0\r\n\r\n", "refused"),
    }  # fmt: skip
    source = f"{FUNKY}; {PROBE}; {GARDEN}"
    return [Case(f"chunk {name}", source, post(TE, body=body), verdict) for name, (body, verdict) in bodies.items()]


def _fields() -> list[Case]:
    lines: dict[str, tuple[bytes, Verdict]] = {
        "empty name": (b": x", "refused"),
        "no colon": (b"X-No-Colon", "refused"),
        "space in the name": (b"X Y: z", "refused"),
        "space before the colon": (b"X : z", "refused"),
        "tab before the colon": (b"X\t: z", "refused"),
        "NUL in the name": (b"X\0: z", "refused"),
        "CR in the name": (b"X\rY: z", "refused"),
        "high octet in the name": (b"X\xe9: z", "refused"),
        "DEL in the name": (b"X\x7f: z", "refused"),
        "brackets in the name": (b"X(y): z", "refused"),
        "NUL in the value": (b"X: a\0b", "refused"),
        "CR in the value": (b"X: a\rb", "refused"),
        "CR LF CR": (b"X: a\r\n\rY: b", "refused"),
        "LF in the value": (b"X: a\nY: b", "refused"),
        "bell in the value": (b"X: a\x07b", "refused"),
        "DEL in the value": (b"X: a\x7fb", "refused"),
        "obs-text in the value": (b"X: caf\xe9", "passed"),
        "tab in the value": (b"X: a\tb", "passed"),
        "folded": (b"X: a\r\n b", "refused"),
        "folded by nothing": (b"X: a\r\n \r\n b", "refused"),
        "an injected request": (b"X: a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: evil", "passed"),
        "CRCR": (b"X: a\r\r\nY: b", "refused"),
        "LF CR": (b"X: a\n\rY: b", "refused"),
        "underscore": (b"X_Y: z", "passed"),
        "empty value": (b"X:", "passed"),
        "Host with underscore": (b"H_ost: evil\r\nHo_st: evil", "passed"),
        "Connection names Host": (b"Connection: Host", "passed"),
        "Connection names Content-Length": (b"Connection: Content-Length\r\nContent-Length: 5\r\nX: y", "either"),
        "Connection names Cookie": (b"Connection: Cookie, Authorization\r\nCookie: a=b\r\nAuthorization: x", "passed"),
        "Connection names X-Forwarded-For": (b"Connection: X-Forwarded-For, Forwarded", "passed"),
        "claims": (b"X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nForwarded: for=6.6.6.6", "passed"),
        "Upgrade h2c": (b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk", "passed"),
        "Upgrade H2C among others": (b"Connection: Upgrade\r\nUpgrade: websocket, H2C", "passed"),
        "Upgrade h2c without Connection": (b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk", "passed"),
        "Upgrade h2c second": (b"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c", "passed"),
        "Upgrade h2c first": (b"Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket", "passed"),
        "Upgrade with rubbish": (b"Connection: Upgrade\r\nUpgrade: \x22h2c\x22", "passed"),
        "Upgrade HTTP/2.0": (b"Connection: Upgrade\r\nUpgrade: HTTP/2.0", "passed"),
        "Upgrade TLS": (b"Connection: Upgrade\r\nUpgrade: TLS/1.2", "passed"),
        "TE": (b"TE: gzip, trailers;q=0.5\r\nConnection: TE", "passed"),
        "Keep-Alive": (b"Keep-Alive: timeout=999\r\nProxy-Connection: keep-alive", "passed"),
        "Expect": (b"Expect: 100-continue", "passed"),
        "Expect obfuscated": (b"Expect: y 100-continue", "passed"),
        "Expect twice": (b"Expect: 100-continue\r\nExpect: 200-ok", "passed"),
        "Expect folded": (b"Expect:\r\n 100-continue", "refused"),
        "10,000 fields": (b"\r\n".join([b"X: y"] * 10_000), "refused"),
        "a field of 1 MB": (b"X: " + b"y" * 1_000_000, "refused"),
        "a name of 100 kB": (b"X" * 100_000 + b": y", "refused"),
    }  # fmt: skip
    source = f"{PROBE}; {T_REQS}; {HAPROXY_NAME}; {NODE_CR}; {GO_LF}; {H2C}; {HOP}; {MUST_DIE}"
    made = [Case(f"field {name}", source, get(line), verdict) for name, (line, verdict) in lines.items()]
    expecting = post(b"Content-Length: %d" % len(SMUGGLED), b"Expect: 100-continue", body=SMUGGLED)
    made += [
        Case("Expect with a body at once", MUST_DIE, expecting, "passed"),
        Case("Expect with TE and CL", MUST_DIE, post(b"Expect: 100-continue", CL, TE, body=CHUNKS), "refused"),
        Case(
            "Upgrade with a body", H2C, post(b"Connection: Upgrade", b"Upgrade: websocket", CL, body=b"hello"), "passed"
        ),
        Case("fold in the first field", SMUGGLER, b"GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n", "refused"),
        Case(
            "bad wrap",
            SMUGGLER,
            b"POST / HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: a\r\n\r\n" + CHUNKS,
            "refused",
        ),
    ]
    return made


def _hosts() -> list[Case]:
    heads: dict[str, tuple[bytes, Verdict]] = {
        "none": (b"GET / HTTP/1.1\r\n\r\n", "refused"),
        "none in 1.0": (b"GET / HTTP/1.0\r\n\r\n", "passed"),
        "two": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "refused"),
        "two the same": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "refused"),
        "two in 1.0": (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "refused"),
        "list": (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "refused"),
        "list without a space": (b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", "either"),
        "userinfo": (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "refused"),
        "userinfo, a request behind": (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n" + SMUGGLED, "refused"),
        "path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "refused"),
        "query": (b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", "refused"),
        "hash": (b"GET / HTTP/1.1\r\nHost: a#b\r\n\r\n", "refused"),
        "backslash": (b"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", "refused"),
        "empty": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", "refused"),
        "port not a number": (b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "refused"),
        "high octet": (b"GET / HTTP/1.1\r\nHost: a\xe9\r\n\r\n", "refused"),
        "NUL": (b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", "refused"),
        "space behind the name": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "refused"),
        "absolute and Host disagree": (b"GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", "passed"),
        "absolute without Host": (b"GET http://b/x HTTP/1.1\r\n\r\n", "refused"),
        "absolute with userinfo": (b"GET http://a@b/x HTTP/1.1\r\nHost: b\r\n\r\n", "refused"),
        "absolute without authority": (b"GET http:///x HTTP/1.1\r\nHost: b\r\n\r\n", "refused"),
        "absolute of another scheme": (b"GET ftp://b/x HTTP/1.1\r\nHost: b\r\n\r\n", "refused"),
        "absolute with a backslash": (b"GET http://a\\@b/x HTTP/1.1\r\nHost: b\r\n\r\n", "refused"),
        "absolute with a query only": (b"GET http://b?x HTTP/1.1\r\nHost: b\r\n\r\n", "passed"),
        "absolute and a bad Host": (b"GET http://b/x HTTP/1.1\r\nHost: a b\r\n\r\n", "refused"),
        "authority form": (b"GET b:80 HTTP/1.1\r\nHost: b\r\n\r\n", "refused"),
        "CONNECT": (b"CONNECT b:80 HTTP/1.1\r\nHost: b\r\n\r\n" + SMUGGLED, "refused"),
    }  # fmt: skip
    source = f"{RFC_9112}#section-3.2; {PROBE}; https://portswigger.net/web-security/host-header/exploiting"
    return [Case(f"Host {name}", source, data, verdict) for name, (data, verdict) in heads.items()]


def _lines() -> list[Case]:
    lines: dict[str, tuple[bytes, Verdict]] = {
        "HTTP/0.9": (b"GET /\r\n\r\n", "refused"),
        "HTTP/0.9 bare": (b"GET /\n", "refused"),
        "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "refused"),
        "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "refused"),
        "HTTP/1.10": (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", "refused"),
        "HTTP/01.1": (b"GET / HTTP/01.1\r\nHost: a\r\n\r\n", "refused"),
        "http/1.1": (b"GET / http/1.1\r\nHost: a\r\n\r\n", "refused"),
        "HTTP/1,1": (b"GET / HTTP/1,1\r\nHost: a\r\n\r\n", "refused"),
        "HTTP/ 1.1": (b"GET / HTTP/ 1.1\r\nHost: a\r\n\r\n", "refused"),
        "HTTP 1.1": (b"GET / HTTP 1.1\r\nHost: a\r\n\r\n", "refused"),
        "HTTP/1.1 and more": (b"GET / HTTP/1.1 x\r\nHost: a\r\n\r\n", "refused"),
        "space behind": (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "refused"),
        "two spaces": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "tab": (b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "space in the target": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "a version in the target": (b"GET /a HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "space before": (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "NUL": (b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "CR": (b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "bare CR ends it": (b"GET / HTTP/1.1\rHost: a\r\n\r\n", "refused"),
        "bare LF ends it": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", "refused"),
        "bare LF everywhere": (b"GET / HTTP/1.1\nHost: a\n\n" + SMUGGLED, "refused"),
        "bare LF ends the head": (b"GET / HTTP/1.1\r\nHost: a\r\n\n" + SMUGGLED, "refused"),
        "LF CRLF": (b"GET / HTTP/1.1\r\nHost: a\n\r\n" + SMUGGLED, "refused"),
        "CR only": (b"GET / HTTP/1.1\rHost: a\r\r" + SMUGGLED, "refused"),
        "CRCRLF": (b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", "refused"),
        "form feed": (b"GET\x0c/ HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "high octet in the method": (b"G\xc9T / HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "braces for a method": (b"{} / HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "own method": (b"PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n", "passed"),
        "get": (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", "either"),
        "no method": (b"/ HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "no target": (b"GET HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "no slash": (b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "asterisk for GET": (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "asterisk for OPTIONS": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "passed"),
        "TRACE": (b"TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 9\r\n\r\n", "refused"),
        "fragment": (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "either"),
        "double slash": (b"GET //b/../%2e%2e/;x?a=%zz&&b HTTP/1.1\r\nHost: a\r\n\r\n", "passed"),
        "percent CRLF": (b"GET /%0d%0aX:%20y HTTP/1.1\r\nHost: a\r\n\r\n", "passed"),
        "raw octets": (b"GET /\xff\xa0\x85 HTTP/1.1\r\nHost: a\r\n\r\n", "either"),
        "a target of 1 MB": (b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "a method of 100 kB": (b"G" * 100_000 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "an empty line before": (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "passed"),
        "a bare LF before": (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "a NUL before": (b"\0GET / HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", "refused"),
        "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "refused"),
        "PROXY v1": (b"PROXY TCP4 6.6.6.6 7.7.7.7 1 80\r\n" + SMUGGLED, "refused"),
        "PROXY v2": (b"\r\n\r\n\0\r\nQUIT\n\x20\x11\0\x0c" + b"\6" * 12 + SMUGGLED, "refused"),
        "a byte order mark": (b"\xef\xbb\xbfGET / HTTP/1.1\r\nHost: a\r\n\r\n", "refused"),
        "only a name": (b"GET", "unfinished"),
        "an answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + SMUGGLED, "refused"),
    }  # fmt: skip
    source = f"{PROBE}; {T_REQS}; {GARDEN}"
    made = [Case(f"line {name}", source, data, verdict) for name, (data, verdict) in lines.items()]
    five = b"".join(get(target=b"/%d" % number) for number in range(5))
    mixture = (
        post(TE, body=CHUNKS) + get(target=b"/2") + post(CL, body=b"hello") + get(method=b"HEAD") + get(target=b"/5")
    )
    made += [
        Case("pipeline of five", RFC_9112 + "#section-9.3.2", five, "passed"),
        Case("pipeline of all kinds", RFC_9112 + "#section-9.3.2", mixture, "passed"),
        Case(
            "pipeline behind Connection: close",
            RFC_9112 + "#section-9.6",
            get(b"Connection: close", end=five),
            "either",
        ),
        Case("pipeline behind HTTP/1.0", T_REQS, b"GET /10 HTTP/1.0\r\nHost: a\r\n\r\n" + SMUGGLED, "either"),
        Case("pipeline behind an upgrade", H2C, get(b"Connection: Upgrade", b"Upgrade: websocket", end=five), "passed"),
        Case("pipeline with rubbish within", GARDEN, get() + b"rubbish" + get(target=b"/3"), "either"),
        Case("pipeline of 200", PROBE, get() * 200, "passed"),
    ]
    return made


CORPUS: list[Case] = [*_lengths(), *_codings(), *_chunks(), *_fields(), *_hosts(), *_lines()]
