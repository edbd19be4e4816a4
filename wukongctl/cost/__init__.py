"""What a recipe costs before it is trained, on the meta device: no data, no memory, no GPU.

    flops       the report of `flops` and `train --dry-run`: MACs by formula, checked against a trace
    tracing     one traced forward pass: MACs, memory traffic, saved activations
    memory      bytes of weights, gradients, optimizer state and activations
    solve       the Wukong whose cost is closest to a target
    published   the cost that a paper reports for a shipped recipe

Above `models`, below `training`.
"""
