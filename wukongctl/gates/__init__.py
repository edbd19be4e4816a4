"""What may not get worse, for `scale-report --check`. The tests themselves are in `wukongctl.decisions`.

checks        the gates G0 to G7: what each one asks
baseline      the report or the runs to compare with
paired        two sets of runs of the same configurations, compared run by run
calibration   the noise between identical runs, and the margin that follows
"""
