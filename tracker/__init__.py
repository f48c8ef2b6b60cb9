"""Exchanges become events: identity, forms, campaign, referrer, channel, bots, visits.

    record      the raw facts of one exchange, as the worker wrote them to the spool
    event       one fact in the log, append-only
    touchpoint  an arrival read as marketing contact: source, medium, campaign, click IDs, channel
    visit       one run of activity of one visitor; ends after `inactivity_secs`
    submission  a form a visitor sent; it becomes a lead when the site accepted it

The worker's half (`recorder`) does only what must happen before the answer leaves. The collector's half
(`pipeline`) derives everything else from the records, so that a new rule can be run again over history.
"""
