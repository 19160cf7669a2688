"""Many clients at once before a proxy whose upstream misbehaves at random; what they got, judged request by request.

    python -m tests.chaos --seconds 60 --loop uvloop       (or asyncio)

Every request carries a number. A client must get exactly one answer to it: its own, or an error of the proxy's (502,
504), or one that is visibly cut; what is allowed follows from what the number met upstream (``upstream.fate``).
"""
