"""Scaling laws: from runs or a table to fitted curves. `gates` tests them, `report` renders them.

points         one point per finished run, and what its numbers mean
run_points     points of run folders
point_tables   points of a `table`, whose `columns` are recognized or named
axis           what a curve is fitted against: compute, parameters, data or another column
measure        what the loss is
form, forms    the forms of laws: `power` laws and `loglinear`
fit            fits by weighted least squares
robust         fits under the Huber loss
batch          many small nonlinear fits at once
intervals      profile-likelihood intervals and bands of least squares
resampling     bootstrap intervals and bands of robust laws
bands          either of the two, by the loss of the fit
holdout        prediction of held-out sizes
misfit         a test of the form by the autocorrelation of residuals
notes          limitations of a fitted law, as stable codes
verdict        improving, on a plateau, rising or undecided
curves         the analysis of one curve
data_scaling   which runs vary the amount of data
data_laws      loss against the amount of data, one law per size
joint          joint law of size and data
joint_laws     its tests, its compute-optimal split, isoFLOP groups
grouping       sizes that differ by rounding are one
rivals         other forms: M4, a broken power law, saturation
contest        which form the points prefer, and which one predicts
forecast       the loss at any x, with an interval
sensitivity    one size left out, runs resampled
comparisons    comparison of curves: Pareto frontier, compute to match
equal_compute  exponents compared, and losses at equal compute
analysis       all curves of a point set: the `Report` that other packages use
"""
