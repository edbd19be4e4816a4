"""Field-weighted factorization machines (Pan et al. 2018, arXiv 1806.03514) as a model of wukongctl."""
