"""Scaling laws: from runs or a CSV file to fitted curves. `gates` tests them, `report` renders them.

points         one point per finished run, from run folders or a CSV `table`
axis           what a curve is fitted against: compute, parameters or data
form, forms    the forms of laws: `power` laws and `loglinear`
fit            fits by weighted least squares
robust         fits under the Huber loss
intervals      profile-likelihood intervals and bands, prediction of held-out sizes
joint          joint law of size and data
notes          limitations of a fitted law, as stable codes
data_scaling   loss against the amount of data, alone and jointly with size
curves         the analysis of one curve
comparisons    comparison of curves: Pareto frontier, compute to match
analysis       all curves of a point set: the `Report` that other packages use
"""
