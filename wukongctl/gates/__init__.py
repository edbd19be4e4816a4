"""Regression gates for `scale-report --check`. The statistical tests are in `wukongctl.decisions`.

checks        the gates G0 to G7
baseline      the report or the runs to compare with
paired        paired comparison of two sets of runs, one difference per configuration
calibration   the noise between identical runs, and the margin derived from it
"""
