"""Many training runs: ladders of sizes and seeds, and the search for a good setting.

sweep        the jobs of a sweep, which of them are done, and the loop that runs the rest
executors    where a job runs: a process of this machine, or a Ray cluster
choice       which trial of a grid wins
tune         a sweep whose trials Optuna proposes
study        Optuna's side of `tune`: the journal, the sampler, pruning
candidates   the recipes that `tune` is given, with their search spaces
best         the winning recipe as a file
summary      the content of sweep.json
estimate     FLOPs, memory and time of every run, for `--dry-run`
"""
