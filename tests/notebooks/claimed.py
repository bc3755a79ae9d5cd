"""What gives each figure in the notebooks' text, out of the variables of the notebook itself.

For each notebook the figures as they stand in bold, and an expression that gives the same text, or
True. The same holds for the notebook in Portuguese, which writes a comma for the point.
"""

FIGURES: dict[str, list[tuple[str, str]]] = {
    "01_first_steps": [
        ("16", "len(datasets)"),
        ("2", "images.tile.nunique()"),
        ("8", "images.date.nunique()"),
        ("0.29", "f'{mean_ndvi.values[0]:.2f}'"),
        ("0.68", "f'{mean_ndvi.sel(time=\"2020-01\").max().item():.2f}'"),
        ("12 %", "percent(never_clear)"),
        ("100 %", "percent(least_equal) if least_equal == 1 else least_equal"),
    ],
    "02_tile_viewer": [
        ("16", "n_footprints"),
        ("77 %", "percent(worst.clear_fraction)"),
        ("96", "len(scenes)"),
    ],
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
    "05_time_series": [
        ("0.0001", "furthest < 0.0001"),
        ("0.61", "not real or f'{swing[\"agriculture\"]:.2f}'"),
        ("0.43", "not real or f'{swing[\"pasture\"]:.2f}'"),
        ("0.22", "not real or f'{swing[\"natural vegetation\"]:.2f}'"),
        ("0.08", "not real or {f'{rmse:.2f}', f'{rmse_of_lines:.2f}'} == {'0.08'}"),
    ],
    "06_classify": [
        ("98 %", "percent(made.accuracy['random forest', 'by blocks'])"),
        ("76 %", "percent(report['Pasture']['recall'])"),
        ("99 %", "percent(map_accuracy)"),
        ("100 %", "percent(sure_accuracy)"),
        ("91 %", "percent(unsure_accuracy)"),
        # What the samples' own description has of a forest of 500 trees, cut in the same way.
        ("0.949", "not real or chance['CBERS-4'] >= 0.949"),
        ("0.902", "not real or chance['MODIS'] >= 0.902"),
        ("0.93", "not real or f\"{blocked['CBERS-4']:.2f}\""),
        ("0.77", "not real or f\"{blocked['MODIS']:.2f}\""),
    ],
    "07_services": [
        ("100 %", "percent(same) if same == 1 else same"),
        ("8", "n_frames"),
    ],
    "08_scale": [
        ("100 %", "percent(same) if same == 1 else same"),
        ("0.70", "f'{mean_peak:.2f}'"),
        ("86 %", "percent(late)"),
    ],
}
