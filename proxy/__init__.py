"""The data plane: a reverse proxy that knows HTTP and nothing of marketing.

downstream  the side of the visitor
upstream    the side of the site's own web server
exchange    one request and its response, as the proxy saw it
field       one header or trailer line: a name and a value, as bytes
observer    whoever wants to know of exchanges; may add fields and ask for a copy of a body
refusal     an answer of the proxy's own, because the request or the upstream left it no other
tunnel      two connections joined byte by byte after an upgrade
"""
