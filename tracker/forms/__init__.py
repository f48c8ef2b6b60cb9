"""A form passes by, and becomes a submission: read, mapped, cleaned, sealed, and judged by the site's answer.

field        a name and a value, as the browser sent them
lead field   what a value means to us: email, company, message; the list is in `tracker.settings`
rule         what an operator said of one form; without one a form is recognised, or left alone
never-store  what must not reach the disk whoever sent it: passwords, cards, bank accounts, tokens
submission   a form a visitor sent, its mapped fields sealed
answer       what the site answered, as facts
verdict      whether the site accepted it
"""
