"""Models compared on one dataset, for `compare`.

board      one row per recipe with its spread over seeds, and paired differences to a reference
examples   two models compared on the same held-out rows
"""
