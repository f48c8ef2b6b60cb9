"""What the house is doing, on one page, for its operator. Reads only.

    status    the file in which a process says, once per second, that it lives and what it has counted
    seen      when a process last wrote its status; one not seen for 10 seconds is taken for gone
    lag       how long the oldest sealed spool file has been waiting for the collector
    running   exchanges that have a number and no record yet, because they have not ended
    problem   why visitors or leads may be harmed now; `/healthz` answers 503
    warning   what an operator should look at, while the house does its job

The dashboard opens `log.duckdb` and the status files, never `work.duckdb`. It has no key: contact data stays sealed.
"""
