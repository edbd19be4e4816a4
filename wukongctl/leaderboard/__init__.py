"""Comparison of models on one dataset, for `compare`.

board      one row per recipe, with its spread over seeds and paired differences to a reference
examples   paired comparison of two models on the same held-out rows
"""
