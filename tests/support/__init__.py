"""Real peers for tests: a whole ropo, sites behind it, receivers of leads, a browser, and load.

    origin    a site's own web server, behind the proxy
    receiver  who is sent leads
    marker    a value that occurs in one request only, so that the log can be counted against what was answered

Everything listens on 127.0.0.1 and ends with the test that started it.
"""
