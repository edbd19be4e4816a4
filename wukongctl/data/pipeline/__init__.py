"""Tables → ids, numbers and vocabularies in Parquet, by stages that can be interrupted and resumed.

`flow` runs the stages on the parts that `parts` plans; each gets a `job`, here or on a cluster:

    reading      raw rows → a `store`, in memory or a `spool` on disk; `splits` gives each its split,
                 `bad_rows` finds bad ones
    count        stored rows → occurrences of each value in train
    vocabulary   counts → ids; `pretrained` vectors in the same order
    numbers      counts → mean, deviation and the edges of `bins`
    encode       stored rows → ids by `lookup`, written as Parquet by `writer`, in random order by `shuffle`
    raw_rows     how `predict` reads a new raw file, with a sample to check itself
    strength     the AUC of each feature alone
    description  all of it → the manifest

Planning checks the recipe's SQL: `keys` of a split by hash, `joins`, and the `spelling` of categories. New
rows of `predict` are read by `new_rows`, and compared with training by `drift` and `ranges`.
"""
