"""What finished runs say about size: FLOPs, fitted laws, intervals, pictures and reports."""
