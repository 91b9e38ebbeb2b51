"""A YML feed as it lies on a disk: its encoding, the PHP left in it, its tags and their faults.

`encoding.py` decides how the bytes are decoded, `stream.py` gives the text without the template
code that `php.py` finds, `parts.py` splits the text into offers and what stands around them, and
`offers.py` parses one offer, mending what it can with `markup.py`. All of it works in bounded
memory, opens nothing but the feed, and takes the feed for hostile.
"""
