"""Fault-tolerant parsing of YML feeds: encoding, leftover PHP, and broken tags.

`encoding.py` detects the encoding, `stream.py` yields the text without the template code that
`php.py` finds, `parts.py` splits the text into offers and the elements around them, and `offers.py`
parses one offer, repairing it with `markup.py`. All modules use bounded memory, open nothing but
the feed, and treat the feed as hostile.
"""
