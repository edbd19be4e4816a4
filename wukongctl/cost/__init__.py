"""What a recipe costs before it is trained, on the meta device: no data, no memory, no GPU.

    flops       the report of `flops`: MACs by formula, checked against a trace
    counting    MACs and parameters by formula, for `train --dry-run`
    tracing     one traced forward pass: MACs, memory traffic, saved activations
    memory      bytes of weights, gradients, optimizer state and activations
    step        one traced training step: every operator, and the memory over time
    autocast    what autocast does on a GPU, imitated on the meta device
    gpus        published numbers of GPUs
    network     time of collectives
    placement   embedding tables over several GPUs
    traced      a model counted and traced for `cluster`
    cluster     a recipe on several GPUs: memory, communication, time
    remedies    what would make such a plan fit
    sizes       datasets with tables of another size
    solve       the Wukong whose cost is closest to a target
    published   the cost that a paper reports for a shipped recipe

Above `models`, below `training`.
"""
