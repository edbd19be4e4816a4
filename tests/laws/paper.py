"""Table 5 of the Wukong paper (https://arxiv.org/abs/2403.02545), task 1: GFLOP per example, percent."""

WUKONG = (
    (0.53, 1.25, 2.12, 5.6, 22.23, 61.0, 108.0),
    (-0.35, -0.45, -0.53, -0.60, -0.67, -0.70, -0.76),
)
WUKONG_TASK2 = (WUKONG[0], (-0.32, -0.43, -0.49, -0.60, -0.66, -0.69, -0.76))
DLRM = ((1.37, 3.85, 7.29, 14.61, 31.0, 71.23), (-0.11, -0.23, -0.28, -0.32, -0.37, -0.36))
DCNV2 = ((3.0, 4.67, 17.85, 43.88), (-0.27, -0.29, -0.38, -0.43))


def table(**curves: tuple[tuple[float, ...], tuple[float, ...]]) -> str:
    """The curves as a CSV file."""
    lines = [f"{model},{x},{y}" for model, (xs, ys) in curves.items() for x, y in zip(xs, ys, strict=True)]
    return "\n".join(["model,gflop_per_example,relative_logloss", *lines]) + "\n"
