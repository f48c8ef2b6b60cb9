"""Leads go to ERP and CRM.

connector   code that speaks one system's language
sink        one configured use of a connector
outbox      what is owed to sinks
delivery    one lead owed to one sink, with its attempts
message     what a sink is given: one lead with its contact and journey, ready to send
"""
