"""Correctness against something nobody here wrote: tshark, numpy, NFStream."""
