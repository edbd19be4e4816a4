"""Run folders, as `compare`, `runs`, `scale-report`, `sweep` and `dashboard` read them.

folders              run folders found under a path, with their run.json and result.json
datasets             runs by the data they were trained on
warning_groups       the warnings of many runs, grouped by code
recipe_differences   the keys in which recipes of one name differ
learning_curves      what a run logged while it trained
dashboard            runs, recipes with their seeds and the best of each model, as one document
"""
