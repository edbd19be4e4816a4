"""Synthetic data: rows drawn from a planted teacher, whose click probabilities are known.

planting          the teacher interface, fields and hidden vectors
pair_teacher      interactions of 2, 4 and 8 fields
anova_teacher     interactions of 1 to 4 fields, with exact variance per order
spectrum_teacher  interactions of 2 to 8 fields, with a scaling exponent known in advance
generate          a generator section → rows
"""
