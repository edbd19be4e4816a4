"""Finished runs, as `compare`, `runs`, `scale-report` and `sweep` read them.

folders     which run folders a path holds, and what each one says
warned      the warnings of many runs, each said once
namesakes   recipes of one name, told apart by the keys in which they differ
"""
