"""Synthetic data: rows drawn from a planted teacher, whose click probabilities are known.

planting       the teacher interface, fields and hidden vectors
pair_teacher   interactions of 2, 4 and 8 fields
anova_teacher  interactions of 1 to 4 fields, with exact variance per order
generate       a generator section → rows
"""
