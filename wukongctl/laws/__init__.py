"""Scaling laws: from runs or a CSV file to fitted curves. `gates` judges them, `report` writes them down.

points         one point per finished run, from run folders or a CSV `table`
fit            the laws and their fit by weighted least squares
robust         the same laws under Huber's loss
intervals      profile-likelihood intervals and bands, prediction of a held-out size
bootstrap      wild cluster bootstrap intervals
joint          loss over size and data at once
notes          what limits a fitted law, as stable codes
data_scaling   loss against the amount of data, alone and jointly with size
curves         everything known about one curve
comparisons    curves against each other: frontier, compute to match
analysis       all curves of a point set: the `Report` that the other packages take
"""
