"""The data plane: a reverse proxy that knows HTTP and nothing of marketing.

    downstream  the side of the visitor
    upstream    the side of the site's own web server
    exchange    one request and its answer, as the proxy saw it
    head        the fields of a request or an answer, read once and shared by all that are equal
    field       one header or trailer line: a name and a value, as bytes
    observer    whoever wants to know of exchanges; may add fields and ask for a copy of a body
    refusal     an answer of the proxy's own, because the request or the upstream left it no other
    site        some host names and the servers that answer for them
    tunnel      two connections joined byte by byte after an upgrade

Bytes come in at `http1` (or `http2`, chosen by `alpn`) and go out at `upstream`; `forwarding` is the life of one exchange
between the two. Those hold sockets and decide nothing. What is decided is pure, and stands in:

    request       may it pass; Host, targets, Expect, Upgrade, which lengths are in doubt; the head for upstream
    answer        is it sound; the head for the visitor; Date, Connection, chunks or a length
    body          Content-Length, chunks, trailers: where a body ends
    fields        hop by hop, end to end, who may say who the visitor is
    forwarded     X-Forwarded-* and Forwarded: whom to believe, what to tell the site
    refusal       every status the proxy answers with by itself, and why
    balancer      which server is next; `servers` how one does, `sites` which site, `health` asks
    proxy_protocol, tls, access_log   what their names say
"""
