"""Finished runs, as `compare`, `runs`, `scale-report` and `sweep` read them.

folders              run folders found under a path, with their run.json and result.json
warning_groups       the warnings of many runs, grouped by code
recipe_differences   the keys in which recipes of one name differ
"""
