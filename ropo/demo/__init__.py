"""A small company's web site and its ERP, built in, so that ropo can be tried without either.

    site   Musterwerk Maschinenbau GmbH: pages in German and English, data sheets, a contact form, a call-back form
    ERP    takes leads by signed webhook and shows them as its inbox

Both are strangers to ropo, as the real ones will be: the site knows nothing of a proxy before it, and the ERP checks
signatures with code of its own. `python -m ropo.demo --help` starts them.
"""
