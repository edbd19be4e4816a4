"""Many training runs: scaling ladders over seeds, and hyperparameter search.

sweep        the jobs of a sweep, which of them are done, and the loop that runs the rest
fitting      whether recipes fit their data
executors    where jobs run: local processes, or a Ray cluster
choice       the best trial of a search
tune         a sweep whose trials Optuna proposes
study        the Optuna study behind `tune`: journal, sampler, pruner
candidates   the recipes to tune, with their search spaces
best         the best recipe as a file
summary      the content of sweep.json
estimate     FLOPs, memory and time of every run, for `--dry-run`
"""
