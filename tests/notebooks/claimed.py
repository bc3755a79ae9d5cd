"""What gives each figure in the notebooks' text, out of the variables of the notebook itself.

For each notebook the figures as they stand in bold, and an expression that gives the same text, or
True. The same holds for the notebook in Portuguese, which writes a comma for the point.
"""

FIGURES: dict[str, list[tuple[str, str]]] = {
}
