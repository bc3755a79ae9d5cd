"""What gives each figure in the notebooks' text, out of the variables of the notebook itself.

For each notebook the figures as they stand in bold, and an expression that gives the same text, or
True. The same holds for the notebook in Portuguese, which writes a comma for the point.
"""

FIGURES: dict[str, list[tuple[str, str]]] = {
    "03_compose": [
        ("3050", "pixel['AVG']"),
        ("3100", "pixel['MED']"),
        ("3150", "pixel['STK']"),
        ("100 %", "f'{100 * equal:.15g} %'"),
        ("0.70", "f'{ours.mean():.2f}'"),
        ("0.68", "f'{theirs.mean():.2f}'"),
    ],
    "04_kmeans": [
        ("524,288", "f'{n_pixels:,}'"),
        ("0.78", "f'{middles.NDVI[6]:.2f}'"),
        ("100 %", "percent(table.Cropland[6])"),
        ("44 %", "percent(table.Savanna[3])"),
    ],
}
