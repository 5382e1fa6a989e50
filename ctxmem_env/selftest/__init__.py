"""The reliability of the package, tried out: broken inputs, kills, faults, a long walk, and the same answer twice."""
