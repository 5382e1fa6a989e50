"""Evaluation of generators against the true scenes, on scenes that no training has seen."""
