"""The report: what a ledger says of cost, escalation, quality, latency and faults.

`gathering` reads a ledger into `figures`; `page` makes one HTML file of them, `terminal` a text.
"""
