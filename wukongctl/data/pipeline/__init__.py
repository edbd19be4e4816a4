"""Tables → ids, numbers and vocabularies in Parquet: stages that are whole or absent, part by part.

`flow` runs them in this order, on the parts that `parts` plans, where `executors` says; each gets a `job`:

    reading      raw rows → a `spool` on disk; `splits` gives each its split, `rejects` keeps bad ones
    count        spool → how often each value occurs in train
    vocabulary   counts → ids; `pretrained` vectors in their order
    encode       spool → ids by `lookup` in memory or `spill` on disk, put into Parquet by `writer`
    shuffle      train rows in a random order
    description  what the stages left → the manifest

Where one fails, `diagnosis` finds the value and the line at fault.
"""
